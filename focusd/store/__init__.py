"""What survives a restart, in one SQLite file in the state directory.

``database``    ``open_store`` and the ``Store`` it gives: the way in
``journal``     restore points, durable before the lens moves
``baselines`` ``references`` ``frames`` ``refocuses`` ``spectra`` ``focus_points`` ``settings`` ``files``
                one table each
``file``        the one connection, the one thread that owns it, transactions
``schema``      tables and their versions
``rows``        records as JSON rows with a checksum
``housekeeping``  what is too much goes bit by bit
``checking``    is the file sound
``directory``   the state directory: its lock, and what becomes of a damaged file

Exactly one connection exists, and SQLite is never called on the event loop, because a durable commit takes
milliseconds.
"""
