"""Programs for the makers of xeval; not part of the wheel."""
