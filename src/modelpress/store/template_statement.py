"""Every statement on template files, built once at import."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select

from modelpress.store.table import template_file

INSERT_TEMPLATE = insert(template_file)
#: Whose it is was held when a version was registered with it; here its name is enough.
TEMPLATE = select(template_file.c.content).where(template_file.c.id == bindparam("file"))
OWN_TEMPLATE = select(template_file.c.id).where(
    template_file.c.id == bindparam("file"), template_file.c.account_id == bindparam("account_id")
)
SAME_TEMPLATE = select(template_file.c.id).where(
    template_file.c.account_id == bindparam("account_id"), template_file.c.digest == bindparam("digest")
)
