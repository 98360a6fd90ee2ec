"""The command line, a file a command: parse, call a job, print.

A command's file imports only what parsing needs. Its job, and with it TensorFlow, is imported when the command runs, so
that ``--help`` answers at once.
"""
