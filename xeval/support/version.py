"""The version of xeval, which the package takes from here, and its distribution's name, since "xeval" was taken."""

VERSION = "0.2.0.dev0"
DISTRIBUTION = "crosslingual-eval"
