import json
import multiprocessing
import stat

import pytest
from commands import assert_refused

from mnemodex.deploy.key_file import Key, KeyFile, add_key, new_token, now, read_keys, revoke_key
from mnemodex.deploy.keys import Keys
from mnemodex.schemas.errors import KeyRefusedError, UserError


def bearer(token):
    return f"Bearer {token}"


def add(path, name, **fields):
    token, digest = new_token()
    add_key(path, Key.model_validate({"name": name, "sha256": digest, "created": now(), "scopes": ["search"]} | fields))
    return token


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


class TestTheKeysOfAServer:
    def test_say_what_the_bearer_of_one_may_do(self, path):
        reader = add(path, "reader", scopes=["search", "answer"], memories=["sea"], indexes=["words"], rate=5)
        admin = add(path, "admin", scopes=["admin"])
        keys = Keys(path)
        access = keys.access(bearer(reader))
        assert access.key_name == "reader" and access.scopes == {"search", "answer"}
        assert access.memories == {"sea"} and access.indexes == {"words"} and access.rate == 5
        assert keys.access(f"  bearer   {admin} ").key_name == "admin"

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "mnx_a",
            "Bearer mnx_" + "a" * 43,
            "Bearer " + "a" * 100_000,
            "Bearer \x00\xff",
            "Bearer \ud800",
        ],
    )
    def test_refuse_everybody_else(self, path, header):
        add(path, "reader")
        with pytest.raises(KeyRefusedError, match="Authorization"):
            Keys(path).access(header)

    def test_refuse_the_hash_of_a_key(self, path):
        add(path, "reader")
        with pytest.raises(KeyRefusedError):
            Keys(path).access(bearer(read_keys(path).keys[0].sha256))

    def test_compare_every_key_in_constant_time(self, path, monkeypatch):
        tokens = [add(path, f"key-{number}") for number in range(3)]
        keys, compared = Keys(path), []
        monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)) or a == b)
        keys.access(bearer(tokens[0]))
        assert len(compared) == 3 and {len(digest) for pair in compared for digest in pair} == {64}

    def test_follow_their_file(self, path):
        first = add(path, "first")
        keys = Keys(path)
        second = add(path, "second")
        assert keys.access(bearer(second)).key_name == "second"
        revoke_key(path, "first")
        with pytest.raises(KeyRefusedError, match="unknown or revoked"):
            keys.access(bearer(first))
        keys.access(bearer(second))

    @pytest.mark.parametrize("damage", ["remove", "empty", "writable"])
    def test_let_nobody_in_where_the_file_cannot_be_trusted_any_more(self, path, damage):
        token = add(path, "reader")
        keys = Keys(path)
        if damage == "remove":
            path.unlink()
        elif damage == "empty":
            path.write_text("")
        else:
            path.chmod(0o666)
        with pytest.raises(KeyRefusedError, match="the server cannot read its keys") as raised:
            keys.access(bearer(token))
        assert str(path) not in str(raised.value)


class TestAFileOfKeys:
    def test_has_no_key_in_it_and_is_for_its_owner_alone(self, path):
        token = add(path, "reader")
        assert token not in path.read_text() and token[4:] not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_keeps_the_names_of_revoked_keys(self, path):
        add(path, "reader")
        revoke_key(path, "reader")
        with pytest.raises(UserError, match="has a key 'reader'"):
            add(path, "reader")
        revoked = read_keys(path).keys[0].revoked
        revoke_key(path, "reader")
        assert read_keys(path).keys[0].revoked == revoked is not None

    def test_that_others_can_write_is_refused(self, path):
        add(path, "reader")
        path.chmod(0o660)
        with pytest.raises(UserError, match="chmod 600"):
            Keys(path)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{",
            '{"format": 2}',
            '{"keys": 1}',
            '{"keys": [{}]}',
            '{"keys": [], "more": 1}',
            b"\xff\xfe".decode("latin-1"),
        ],
    )
    def test_that_is_none_is_refused(self, path, text):
        path.write_text(text, encoding="latin-1")
        path.chmod(0o600)
        with pytest.raises(UserError, match="is no file of keys"):
            Keys(path)

    def test_that_is_not_there_is_refused(self, path):
        with pytest.raises(UserError, match="Make it with mnemodex keys add"):
            Keys(path)

    def test_of_two_keys_of_one_name_is_refused(self, path):
        add(path, "reader")
        file = json.loads(path.read_text())
        path.write_text(json.dumps(file | {"keys": file["keys"] * 2}))
        with pytest.raises(UserError, match="two keys are called 'reader'"):
            Keys(path)

    def test_loses_no_key_that_another_process_adds(self, path):
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=add, args=(path, f"key-{number}")) for number in range(8)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert {key.name for key in read_keys(path).keys} == {f"key-{number}" for number in range(8)}

    def test_stays_as_it_is_where_the_disk_is_full(self, path, monkeypatch):
        add(path, "reader")
        before = path.read_bytes()

        def fail(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(UserError, match="No space left"):
            add(path, "second")
        assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("fields", "saying"),
        [
            ({"where": "d.key = 'a'", "scopes": ["sql"]}, "gets no scope sql"),
            ({"where": "d.key = 'a'", "scopes": ["admin"]}, "gets no scope admin"),
            ({"indexes": ["words"], "scopes": ["search", "sql"]}, "gets no scope sql"),
            ({"where": "1=1) OR (1=1"}, "not one SQL expression"),
            ({"where": "EXISTS (FROM documents)"}, "subquery"),
            ({"where": ""}, "not one SQL expression"),
            ({"name": "a b"}, "is no name"),
            ({"name": ""}, "is no name"),
            ({"rate": 0}, "greater than 0"),
            ({"rate": float("inf")}, "finite"),
            ({"scopes": []}, "at least 1 item"),
            ({"scopes": ["all"]}, "'search'"),
        ],
    )
    def test_takes_no_key_that_means_nothing(self, fields, saying):
        given = {"name": "k", "sha256": "0" * 64, "created": now(), "scopes": ["search"]} | fields
        with pytest.raises(ValueError, match=saying):
            KeyFile.model_validate({"keys": [given]})


class TestKeysCommand:
    def test_prints_a_key_once_that_the_server_knows(self, path, cli):
        ran = cli("keys", "add", path, "--name", "reader", "--scope", "search", "--index", "words", "--rate", "5")
        assert ran.code == 0 and ran.out.startswith("mnx_") and ran.out.count("\n") == 1
        assert Keys(path).access(bearer(ran.out.strip())).indexes == {"words"}
        shown = cli("keys", "list", path)
        assert "reader" in shown.out and ran.out.strip() not in shown.out

    def test_lists_as_json_without_hashes(self, path, cli):
        add(path, "reader", where="d.key = 'a'")
        (key,) = cli("keys", "list", path, "--json").json["keys"]
        assert key["where"] == "d.key = 'a'" and key["revoked"] is None and "sha256" not in key

    def test_revokes(self, path, cli):
        token = add(path, "reader")
        assert cli("keys", "revoke", path, "reader").code == 0
        with pytest.raises(KeyRefusedError):
            Keys(path).access(bearer(token))

    def test_says_what_is_wrong(self, path, cli):
        options = ["keys", "add", path, "--name"]
        assert_refused(cli(*options, "a", "--scope", "all"), saying="keys add: --scope: should be 'search', ")
        assert_refused(cli(*options, "a b", "--scope", "search"), saying="keys add: --name: 'a b' is no name")
        assert_refused(
            cli(*options, "a", "--scope", "sql", "--where", "true"), saying="keys add: a key with where gets no scope"
        )
        assert_refused(cli("keys", "revoke", path, "a"), saying="cannot be read (No such file or directory)")
        add(path, "reader")
        assert_refused(cli("keys", "revoke", path, "a"), saying="has no key 'a'. Name one of: reader")
