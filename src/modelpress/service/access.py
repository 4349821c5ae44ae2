"""Who a request is from, and the operator's commands on accounts, users and access keys."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from modelpress.domain.policy import Caller, Policy
from modelpress.errors import InvalidArgument, NameConflict, NoSuchUser, PoliciesDiffer, UnknownAccessKey
from modelpress.service.clock import Clock
from modelpress.store.key_store import AccessKey, Account, KeyStore, User

DEFAULT_ACCOUNT = "default"
#: The one user who is made without being told what it may do: everything.
ADMIN = "admin"
_LONGEST_NAME = 64
_ACCESS_KEY = re.compile(r"[A-Za-z0-9._\-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A new pair, to be shown once; the secret is never in a repr."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"KeyPair(access_key={self.access_key!r})"


def new_pair() -> KeyPair:
    """A random pair that is nobody's yet."""
    return KeyPair(access_key="mp" + secrets.token_hex(15), secret_key=secrets.token_hex(16))


class AccessService:
    """Accounts, their users and access keys, and what a key stands for."""

    def __init__(self, keys: KeyStore, *, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def caller(self, access_key: str) -> tuple[Caller, str]:
        """Who this key stands for, and its secret, which the signature is checked with.

        Raises: UnknownAccessKey if there is none or it was revoked.
        """
        credential = self._keys.credential(access_key)
        if credential is None:
            raise UnknownAccessKey(access_key)
        caller = Caller(
            account_id=credential.account_id,
            user_id=credential.user_id,
            access_key=access_key,
            policies=credential.policies,
        )
        return caller, credential.secret_key

    def create_account(self, name: str) -> str:
        """A new account's id.

        Raises: InvalidArgument for a name that cannot be one; NameConflict.
        """
        return self._keys.create_account(_checked("account", name), now=self._clock())

    def accounts(self) -> list[Account]:
        """All accounts, oldest first."""
        return self._keys.accounts()

    def create_user(self, name: str, *, account: str = DEFAULT_ACCOUNT, policies: Iterable[Policy]) -> User:
        """A new user of the account of this name (made if it is new).

        Raises: InvalidArgument for a name that cannot be one; NameConflict.
        """
        now = self._clock()
        _checked("user", name)
        account_id = self._keys.account_named(_checked("account", account), now=now)
        self._keys.create_user(name, account_id=account_id, policies=policies, now=now)
        return self.user(name, account=account)

    def user(self, name: str, *, account: str = DEFAULT_ACCOUNT) -> User:
        """The user of this name.

        Raises: NoSuchUser.
        """
        found = self._keys.find_user(name, account=account)
        if found is None:
            raise NoSuchUser(name, account=account, hint="modelpress user list shows all")
        return found

    def users(self) -> list[User]:
        """All users, oldest first."""
        return self._keys.users()

    def set_policies(self, name: str, *, account: str = DEFAULT_ACCOUNT, policies: Iterable[Policy]) -> None:
        """Replace a user's policies; requests that its keys sign from now on are held against the new ones.

        Raises: NoSuchUser.
        """
        self._keys.set_policies(self.user(name, account=account), policies)

    def delete_user(self, name: str, *, account: str = DEFAULT_ACCOUNT) -> None:
        """Delete a user and its revoked keys.

        Raises: NoSuchUser; UserInUse if it has keys in force.
        """
        self._keys.delete_user(self.user(name, account=account))

    def create_key(
        self,
        *,
        account: str = DEFAULT_ACCOUNT,
        user: str = ADMIN,
        policies: Iterable[Policy] | None = None,
        pair: KeyPair | None = None,
    ) -> KeyPair:
        """A new key for this user of the account (each made if it is new), or ``pair``, an existing one, taken over.

        A user that is new gets ``policies``; without them only ``admin`` is made, with full control.

        Raises: InvalidArgument for a pair or name that cannot be one; NoSuchUser for a new user without policies;
            PoliciesDiffer if the user exists with others; NameConflict if the key exists.
        """
        pair = pair or new_pair()
        if not _ACCESS_KEY.fullmatch(pair.access_key):
            raise InvalidArgument("access-key", "an access key has 1 to 128 letters, digits, '.', '_' or '-'")
        if not pair.secret_key:
            raise InvalidArgument("secret-key", "the secret key is empty")
        owner = self._owner(user, account=account, wanted=None if policies is None else frozenset(policies))
        self._keys.put_key(pair.access_key, secret_key=pair.secret_key, user=owner, now=self._clock())
        return pair

    def _owner(self, name: str, *, account: str, wanted: frozenset[Policy] | None) -> User:
        """The user who is to have a key; made if it is new."""
        found = self._keys.find_user(name, account=account)
        if found is not None:
            if wanted is not None and wanted != found.policies:
                raise PoliciesDiffer(name, account=account, has=", ".join(sorted(found.policies)) or "none")
            return found
        if wanted is None and name != ADMIN:
            raise NoSuchUser(name, account=account, hint="give --policy to make it")
        try:
            return self.create_user(
                name, account=account, policies=frozenset({Policy.FULL_CONTROL}) if wanted is None else wanted
            )
        except NameConflict:  # another process made it in between
            return self._owner(name, account=account, wanted=wanted)

    def keys(self) -> list[AccessKey]:
        """All keys, oldest first."""
        return self._keys.keys()

    def revoke(self, access_key: str) -> None:
        """Put a key out of force.

        Raises: NoSuchAccessKey.
        """
        self._keys.revoke(access_key, now=self._clock())


def _checked(kind: str, name: str) -> str:
    """``name``, if people can tell it from others when they see it.

    Raises: InvalidArgument.
    """
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidArgument(kind, f"a name has 1 to {_LONGEST_NAME} printable characters, no space at its ends")
    return name
