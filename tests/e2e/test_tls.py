import ssl
import subprocess
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from tests.server import running_server


async def test_https_and_wss_with_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    san: list[str | Path] = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key]
    subprocess.run([*make, *san], check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=certificate)

    environment = {"MILLSTREAM_TLS_CERTIFICATE": str(certificate), "MILLSTREAM_TLS_KEY": str(key)}
    with running_server(tmp_path, verify=trust, **environment) as server:
        assert server.url.startswith("https://")
        assert httpx.get(f"{server.url}/healthz", verify=trust).text == "ok\n"
        async with connect(f"{server.realtime_url}/realtime", ssl=trust) as socket:
            assert '"session.created"' in str(await socket.recv())
