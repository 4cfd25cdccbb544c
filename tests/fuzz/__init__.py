"""Bytes that nobody meant: every reader of foreign bytes, each as a function of bytes that must never crash.

``targets``   the readers; each says by an assertion what must hold whatever the bytes
``seeds``     well-formed bytes to begin with
``corpus``    bytes that led the fuzzer to new code, a line of base64 each; the tests read them all again
``__main__``  ``python -m tests.fuzz TARGET``: coverage-guided fuzzing, with the package ``atheris``
"""
