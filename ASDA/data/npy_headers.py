"""What NumPy raises on an npy file whose header is damaged or made to be: it is parsed as Python."""

from __future__ import annotations

import tokenize

UNREADABLE_HEADERS = (ValueError, EOFError, SyntaxError, tokenize.TokenError, TypeError, OverflowError, RecursionError)
