"""Coordination through Redis: who serves which stream, and the traffic between gateways and workers.

Nothing here imports torch, so a gateway can use it. Everything in Redis can be rebuilt; media passes through and is
trimmed as soon as its reader has acknowledged it.
"""
