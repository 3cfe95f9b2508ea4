"""Runs kosoku, Autobahn's cases for the newer Pythons, with one fault of it mended: python3 conformance_cases.py ARGUMENTS...

Where compression has been agreed upon, kosoku 0.1.0 gives the cases of groups 12 and 13 bytes for a message that came
compressed, and a string for one that did not: of its text, or of a character for each byte. Those cases want bytes, and a
server need not compress each message (RFC 7692 section 6).
"""

import sys

from kosoku import _cli, cases


def with_bytes(case):
    judge = case.onMessage

    def on_message(self, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        return judge(self, message, binary)

    case.onMessage = on_message


for name, case in cases.CASES.items():
    if name.startswith(("12.", "13.")):
        with_bytes(case)
sys.exit(_cli.main())
