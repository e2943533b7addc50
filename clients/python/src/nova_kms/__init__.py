"""Client of Nova KMS: keys and records for an application, from one node or several.

from nova_kms import Client, Identity

with Client("http://127.0.0.1:8000", Identity.from_seed_file("app.seed")) as kms:
    with kms.derive("wallet/eth") as key:
        ...
"""

from ._node import Node
from .chain import Chain
from .client import Client, NodeSource
from .errors import (
    InvalidRequest,
    KmsError,
    NoSession,
    NotFound,
    OutcomeUnknown,
    ProtocolViolation,
    Refused,
    Timeout,
    Unavailable,
)
from .identity import Identity, SealingChannel, Signer
from .known_nodes import KnownNodes
from .odyn import OdynIdentity
from .operations import (
    Delete,
    Deleted,
    Derive,
    Derived,
    Get,
    List,
    Operation,
    Page,
    Put,
    Record,
    Result,
    Written,
)
from .secret import Secret

__all__ = [
    "Chain",
    "Client",
    "Delete",
    "Deleted",
    "Derive",
    "Derived",
    "Get",
    "Identity",
    "InvalidRequest",
    "KmsError",
    "KnownNodes",
    "List",
    "NoSession",
    "Node",
    "NodeSource",
    "NotFound",
    "OdynIdentity",
    "Operation",
    "OutcomeUnknown",
    "Page",
    "ProtocolViolation",
    "Put",
    "Record",
    "Refused",
    "Result",
    "SealingChannel",
    "Secret",
    "Signer",
    "Timeout",
    "Unavailable",
    "Written",
]
__version__ = "0.1.0"
