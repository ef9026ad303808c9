"""The version of xeval, which the package has too; its distribution is called otherwise, since "xeval" was taken."""

VERSION = "0.2.0.dev0"
DISTRIBUTION = "crosslingual-eval"
