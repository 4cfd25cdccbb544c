"""The certificate of the endpoint."""

from __future__ import annotations

import ssl

from focusd.config import HttpSettings
from focusd.errors import ConfigError


def make_tls(settings: HttpSettings) -> ssl.SSLContext | None:
    """Give what makes the endpoint speak HTTPS; ``None`` where no certificate is configured.

    Raises:
        ConfigError: the certificate or its key cannot be used; names both settings.
    """
    if settings.certificate_file is None or settings.private_key_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password function OpenSSL would ask at the terminal, and wait.
        context.load_cert_chain(settings.certificate_file, settings.private_key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        files = f"{settings.certificate_file} and {settings.private_key_file}"
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            [f"http.certificate_file and http.private_key_file: {files} cannot be used: {why}"]
        ) from error
    return context
