import hashlib
import time

from redis.asyncio import Redis

from app import ephemeral
from workers.broker import keys


async def test_a_key_knows_its_session_until_it_expires(redis: Redis) -> None:
    before = time.time()
    key = await ephemeral.create(redis, b'{"type":"realtime"}', 60)
    assert key.value.startswith("ek_")
    assert before + 59 <= key.expires_at <= time.time() + 60
    assert await ephemeral.session_of(redis, key.value) == b'{"type":"realtime"}'
    assert await ephemeral.session_of(redis, key.value) is not None
    stored = keys.ephemeral_key(hashlib.sha256(key.value.encode()).hexdigest())
    assert 55 < await redis.ttl(stored) <= 60
    await redis.pexpire(stored, 1)
    while await redis.exists(stored):
        pass
    assert await ephemeral.session_of(redis, key.value) is None


async def test_keys_differ_and_the_broker_does_not_know_them(redis: Redis) -> None:
    values = {(await ephemeral.create(redis, b"{}", 60)).value for _ in range(20)}
    assert len(values) == 20
    stored = b" ".join([name async for name in redis.scan_iter()]).decode()
    assert not any(value.removeprefix("ek_") in stored for value in values)


async def test_a_forged_key_has_no_session(redis: Redis) -> None:
    for value in ("ek_", "ek_forged", "ek_" + "A" * 10_000):
        assert await ephemeral.session_of(redis, value) is None
