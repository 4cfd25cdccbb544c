# Boot systemd beside the running system: own mounts, processes, control groups, network and host name.
#
#   unshare --pid --fork --kill-child --mount --cgroup --uts --ipc --net sh guest.sh PLACE LAYER SITE NEEDS
#
# Its disk is this computer's, read-only, under a layer in memory that takes all writes and begins with the files in
# LAYER. SITE, a site-packages folder, appears at NEEDS in the same way. Nothing outlives the processes.
set -eu
place=$1 layer=$2 site=$3 needs=$4

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$place"
cp -a "$layer" "$place/written"
chmod 755 "$place/written"
mkdir "$place/work" "$place/site" "$place/site-work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/written,workdir=$place/work" overlay "$place/root"
cd "$place/root"
mkdir -p ".$needs"
mount -t overlay -o "lowerdir=$site,upperdir=$place/site,workdir=$place/site-work" overlay ".$needs"
# focusd and pip are what the instructions install.
rm -rf ".$needs"/*focusd* ".$needs"/pip ".$needs"/pip-*

# Of the units on this computer only systemd's own, and of these none that looks for hardware or a login.
rm -rf etc/systemd/system run var/lib/systemd var/log/journal etc/credstore etc/machine-id
mkdir -p etc/systemd/system run
for unit in dbus.service dbus.socket getty.target systemd-binfmt.service systemd-logind.service \
    systemd-modules-load.service systemd-networkd.service systemd-resolved.service systemd-sysctl.service \
    systemd-timesyncd.service systemd-udev-trigger.service systemd-udevd.service; do
    ln -s /dev/null "etc/systemd/system/$unit"
done
: >etc/machine-id

# The kernel's settings belong to the computer: read-only.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in full null random tty urandom zero; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

ip link set lo up
mkdir old
pivot_root . old
umount -l old
# In a container systemd leaves this to whoever made it; without it credentials do not reach their service.
mount --make-rshared /
echo "guest: booting"
export container=focusd-test
exec /lib/systemd/systemd --log-target=journal --unit=multi-user.target
