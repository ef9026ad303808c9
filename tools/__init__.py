"""Programs for xeval's developers; not part of the wheel."""
