"""Tiny networks run fastest in one thread."""

from tests.threads import one_thread as one_thread
