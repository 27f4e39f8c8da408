"""The one exception for a user's mistake."""


class UserError(ValueError):
    """A mistake in what the user gave us, told in one sentence.

    The message names the file, key or value at fault. The command lines print it and exit with code 2;
    in a script it is an ordinary ``ValueError``.
    """
