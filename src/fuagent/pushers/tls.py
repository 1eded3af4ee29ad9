"""TLS towards a service: what is trusted, what is shown, and failures in plain words.

Checks cannot be switched off; a private authority is trusted through ``ca_file``.
"""

from __future__ import annotations

import ssl

from fuagent.contract.text import clean
from fuagent.errors import TryAgainError
from fuagent.model import Credential

# X509_V_ERR_... in OpenSSL's x509_vfy.h.
_VERIFY = {
    9: "the certificate is not valid yet; check the clocks of both machines",
    10: "the certificate has expired; renew it at the service",
    62: "the certificate is for another host name",
    64: "the certificate is for another IP address",
}
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})

# Alerts of the other end and OpenSSL's own reasons, by a part of their names.
_REASONS = (
    ("CERTIFICATE_REQUIRED", "the service demands a client certificate: set credential.cert_file and key_file"),
    ("ALERT_UNKNOWN_CA", "the service does not know the authority of the client certificate"),
    ("ALERT_CERTIFICATE_EXPIRED", "the service finds the client certificate expired"),
    ("ALERT_BAD_CERTIFICATE", "the service does not accept the client certificate"),
    ("ALERT_CERTIFICATE_UNKNOWN", "the service does not accept the client certificate"),
    ("HANDSHAKE_FAILURE", "no common TLS settings, or the service demands a client certificate"),
    ("PROTOCOL_VERSION", "no common TLS version"),
    ("WRONG_VERSION_NUMBER", "the other end does not speak TLS on this port"),
    ("RECORD_LAYER_FAILURE", "the other end does not speak TLS on this port"),
)


def context(ca_file: str | None, credential: Credential | None) -> ssl.SSLContext:
    """The settings of new connections; files are read now, so that renewed ones count.

    Raises:
        TryAgainError: a file cannot be read or used; it may be in the middle of being replaced.
    """
    try:
        made = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("driver_params.ca_file", ca_file, error, "a PEM file with one or more certificates") from None
    if credential is not None and credential.cert_file is not None:
        _show(made, credential, credential.cert_file)
    return made


def explained(error: ssl.SSLError) -> str:
    """What went wrong, and what to do about it, in one sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return "the certificate's authority is not known here; set driver_params.ca_file"
        return _VERIFY.get(error.verify_code, f"the certificate is not accepted: {clean(error.verify_message)}")
    reason = error.reason or ""
    return next((text for part, text in _REASONS if part in reason), clean(reason.replace("_", " ").lower()))


def _show(made: ssl.SSLContext, credential: Credential, cert_file: str) -> None:
    password = credential.key_password.reveal() if credential.key_password is not None else ""
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        made.load_cert_chain(cert_file, credential.key_file, password=lambda: password)
    except (OSError, ssl.SSLError, ValueError) as error:
        wanted = "PEM files that belong together, and key_password if the key is encrypted"
        raise _unusable("credential.cert_file", cert_file, error, wanted) from None


def _unusable(where: str, path: str | None, error: Exception, wanted: str) -> TryAgainError:
    foreign = isinstance(error, ssl.SSLError | ValueError)
    reason = "it is not what is wanted" if foreign else clean(getattr(error, "strerror", None) or "it cannot be read")
    return TryAgainError(f"'{path}' cannot be used: {reason}", where=where, fix=f"give {wanted}")
