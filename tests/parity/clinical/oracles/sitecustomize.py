"""Python imports this when an oracle starts: no reference package reaches a network.

Packages fetch models, and some fetch data on import; with this they find what the test gave them,
or fail.
"""

import socket

LOCAL = (None, "", "localhost", "127.0.0.1", "::1")
_resolve = socket.getaddrinfo


def resolve(host, *arguments, **options):
    """Resolve the names of this machine only."""
    if host not in LOCAL:
        raise socket.gaierror(f"an oracle tried to reach {host}; oracles run without a network")
    return _resolve(host, *arguments, **options)


socket.getaddrinfo = resolve
