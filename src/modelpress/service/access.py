"""Access keys: who a request is from, and the operator's commands on keys."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from modelpress.domain.policy import Caller, Policy
from modelpress.errors import InvalidRequest, UnknownAccessKey
from modelpress.service.clock import Clock
from modelpress.store.key_store import AccessKey, KeyStore

DEFAULT_ACCOUNT = "default"
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
    """Access keys and what they stand for."""

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
        caller = Caller(account_id=credential.account_id, access_key=access_key, policies=credential.policies)
        return caller, credential.secret_key

    def create_key(
        self,
        *,
        account: str = DEFAULT_ACCOUNT,
        policies: Iterable[Policy] = (Policy.FULL_CONTROL,),
        pair: KeyPair | None = None,
    ) -> KeyPair:
        """A new key for the account of this name (made if it is new), or ``pair``, an existing one, taken over.

        Raises: InvalidRequest for a pair that cannot be one; NameConflict if the key exists.
        """
        now = self._clock()
        pair = pair or new_pair()
        if not _ACCESS_KEY.fullmatch(pair.access_key):
            raise InvalidRequest("access-key", "an access key has 1 to 128 letters, digits, '.', '_' or '-'")
        if not pair.secret_key:
            raise InvalidRequest("secret-key", "the secret key is empty")
        account_id = self._keys.account_named(account, now=now)
        self._keys.put_key(
            pair.access_key, secret_key=pair.secret_key, account_id=account_id, policies=policies, now=now
        )
        return pair

    def keys(self) -> list[AccessKey]:
        """All keys, oldest first."""
        return self._keys.keys()

    def revoke(self, access_key: str) -> None:
        """Put a key out of force.

        Raises: NoSuchAccessKey.
        """
        self._keys.revoke(access_key, now=self._clock())
