"""What can go wrong for a user: one class hierarchy, each message a plain sentence with a way out."""


class AutoannotateError(Exception):
    """An error that the user can do something about; the command line prints its sentence and exits with 1."""


class UsageError(AutoannotateError):
    """The call itself is wrong (a class list of one, an unknown option value); exits with 2."""


class InputError(AutoannotateError):
    """The images, tables or settings given cannot be used."""


class OutputError(AutoannotateError):
    """The results cannot be written where they were asked for."""


class ModelError(AutoannotateError):
    """A model, or its weights, cannot be had or does not fit."""


class UnreadableImageError(AutoannotateError):
    """One image file cannot be read; a run notes it in `unreadable.csv` and goes on."""
