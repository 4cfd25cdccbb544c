"""focusd keeps an unattended scanning electron microscope in focus.

Map of the package, top down; a module may import only from the lines below its own:

``cli``         the commands; sole reader of the command line and the environment
``daemon``      builds every object from the configuration; the order of start and shutdown
``api`` ``logs``  HTTP control endpoint; structured logs
``service``     what focusd does: judge frames, refocus, restore, report
``sources``     where frames come from
``microscope`` ``simulator`` ``store``  drivers over TCP; the microscope's stand-in; SQLite
``config``      one frozen tree of settings
``records``     what is remembered of frames, refocuses and baselines
``protocol`` ``focus`` ``notify``  pure wire formats; pure maths; systemd notification
``imagefile``   images that come as bytes or files, and what their headers tell
``frame`` ``framepool`` ``errors``  value types; memory that holds them in turn; the exception tree
``client``      for acquisition scripts; imports ``errors`` and nothing else, and nothing here imports it

``protocol`` and ``focus`` do no I/O and know no clock, so every rule in them is tested as a plain function.
"""

__version__ = "0.1.0"
