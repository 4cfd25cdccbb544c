"""Frames that appear as files in a folder: each judged once, also over restarts and ``kill -9``.

``watch``      ``WatchedFolder``: the way in
``readiness``  which file is complete, from what was seen of it when: pure, no I/O and no clock
``position``   which files are done with: the read position that survives restarts
``listing``    what is in the folder
``reading``    from a file to a frame
``notices``    changes as the system tells them, so that nothing need be waited for
``worker``     the one thread that touches the folder, which may be a share that hangs
``report`` ``status``  what an operator is told
"""
