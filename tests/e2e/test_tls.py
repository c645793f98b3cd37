import ssl
from pathlib import Path

import httpx
import trustme
from websockets.asyncio.client import connect

from tests.server import running_server


async def test_https_and_wss_with_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    environment = {"MILLSTREAM_TLS_CERTIFICATE": str(certificate), "MILLSTREAM_TLS_KEY": str(key)}
    with running_server(tmp_path, verify=trust, **environment) as server:
        assert server.url.startswith("https://")
        assert httpx.get(f"{server.url}/healthz", verify=trust).text == "ok\n"
        async with connect(f"{server.realtime_url}/realtime", ssl=trust) as socket:
            assert '"session.created"' in str(await socket.recv())
