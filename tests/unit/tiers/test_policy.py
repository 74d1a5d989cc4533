"""Policies: every fault is found at once, and the healthcare defaults hold where the site says nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import config
from holdfast.classes.policy import HEALTHCARE, HOME, ClassPolicy, Move, PolicyBook, StoreFacts, problems
from holdfast.errors import ConfigError
from holdfast.runs.configured import access, backup_options
from holdfast.runs.policies import policy_book, policy_problems, tiers

DAY = 86400
HEAD = '[vault]\nurl = "/srv/vault"\n[stores.second]\nurl = "/mnt/b"\n[stores.cold]\nurl = "/mnt/c"\n'
GOOD = HEAD + '[policies.default]\nstores = ["home", "second"]\n'


def settings(text: str) -> config.Settings:
    return config.loads(text, environ={}).settings


def faults(text: str) -> str:
    return "\n".join(policy_problems(settings(text)))


def test_without_policies_there_is_nothing_to_decide():
    assert tiers(settings(HEAD)) is None
    assert access(config.loads(HEAD, environ={}), {}).tiers is None


def test_defaults_of_healthcare_hold_where_nothing_is_said():
    book = policy_book(settings(GOOD))
    assert {name: (policy.copies, policy.verify_seconds) for name, policy in book.policies.items()} == {
        name: (preset.copies, preset.verify_seconds) for name, preset in HEALTHCARE.items()
    }
    assert book.of("phi").stores == ("home", "second")
    assert book.of("a site's own class") == book.of("phi-restricted")
    assert book.of("phi").sensitive
    assert not book.of("system").sensitive
    assert ClassPolicy("a site's own class").sensitive


def test_a_good_book_opens_the_stores_that_policies_name_and_no_other():
    found = tiers(settings(GOOD))
    assert found is not None
    assert dict(found.urls) == {"second": "store:second"}
    assert found.spool_bytes_max == 10 << 30


def test_the_home_has_its_store_s_name_too():
    text = GOOD.replace('url = "/srv/vault"', 'url = "store:main"') + '[stores.main]\nurl = "/srv/vault"\n'
    text += '[policies.phi]\nstores = ["main", "cold"]\n[tiers.main]\ntier = "warm"\n'
    book = policy_book(settings(text))
    assert book.of("phi").stores == ("home", "cold")
    assert (book.stores["home"].tier, "main" in book.stores) == ("warm", False)
    assert not policy_problems(settings(text))
    assert dict(tiers(settings(text)).urls) == {"second": "store:second", "cold": "store:cold"}


def test_all_faults_at_once():
    text = HEAD.replace('"/srv/vault"', '"/srv/vault"\nkey_file = "file:/srv/vault.key"') + (
        "[stores.spool]\nurl = '/x'\n[stores.tape]\nurl = '/t'\n"
        "[tiers.tape]\ntier = 'offline'\n[tiers.nowhere]\ntier = 'cold'\n[tiers.second]\nclasses = ['public', 'nonsense']\n"
        "[tiers.cold]\nlock_seconds = '30d'\n"
        "[policies.phi]\nstores = ['home', 'second']\n"
        "[policies.imaging]\nstores = ['nothing']\n"
        "[policies.public]\nstores = ['home', 'home']\ncopies = 3\n"
        "[policies.system]\nstores = ['tape']\n"
        "[policies.invented]\nstores = ['home']\n"
        "[policies.database]\nstores = ['home', 'cold']\nretain_seconds = '7d'\n"
        "[[policies.database.moves]]\nafter = '30d'\nstores = ['cold', 'home']\n"
        "[[policies.database.moves]]\nafter = '30d'\nstores = ['cold', 'home']\n"
    )
    found = faults(text)
    for expected in (
        "stores.spool: a store cannot be called so",
        "tiers.nowhere: there is no store nowhere",
        "tiers.second.classes: there is no data class nonsense",
        "policies.phi.stores: store second does not admit phi",
        "policies.phi.stores: a single copy of phi",
        "policies.imaging.stores: there is no store nothing",
        "policies.imaging.stores: imaging has nowhere to go",
        "policies.public.stores: a store is named twice",
        "policies.public.stores: 3 copies are asked for and 2 stores named",
        "policies.system.stores: store tape is offline",
        "policies.system.stores: system has nowhere to go",
        "policies.invented: there is no data class of that name",
        "policies.database.retain_seconds: 7 d 0 h is shorter than the object lock of store cold (30 d 0 h)",
        "policies.database.moves: the ages must rise",
        "policies.phi-restricted.stores: a single copy of phi-restricted",
        "vault.key_file: the key lies beside the data of store home",
    ):
        assert expected in found
    with pytest.raises(ConfigError, match="faults") as caught:
        tiers(settings(text))
    assert len(caught.value.problems) == len(found.splitlines())


def test_one_fault_is_one():
    with pytest.raises(ConfigError, match="have 1 fault\n"):
        tiers(settings(GOOD + '[tiers.nowhere]\ntier = "hot"\n'))


def test_a_home_that_does_not_admit_a_class_is_found():
    assert "the home carries the metadata" in faults(GOOD + '[tiers.home]\nclasses = ["public"]\n')


def test_a_single_copy_is_accepted_by_its_unsafe_name_only():
    single = GOOD + '[policies.phi]\nstores = ["cold"]\n'
    assert "a single copy of phi" in faults(single)
    assert not faults(single + "unsafe_single_copy = true\n")
    assert policy_book(settings(single + "unsafe_single_copy = true\n")).of("phi").copies == 1
    assert "single copy" in faults(GOOD + '[policies.phi]\nstores = ["home", "cold"]\ncopies = 1\n')


@pytest.mark.parametrize("place", ["/mnt/b/vault.key", "/mnt/key", "/srv/key"])
def test_a_key_beside_the_data_is_found(place):
    text = GOOD.replace('"/srv/vault"', f'"file:///srv/vault"\npassphrase = "file:{place}"')
    assert "vault.passphrase: the key lies beside the data" in faults(text)
    assert not faults(GOOD.replace('"/srv/vault"', '"/srv/vault"\npassphrase = "file:/etc/holdfast/p"'))


def test_two_names_of_one_place_are_found():
    assert "stores.cold: it is the same place as second" in faults(GOOD.replace('"/mnt/c"', '"/mnt/../mnt/b"'))
    assert "the same place as" in faults(GOOD.replace('"/mnt/b"', '"s3://b/p"').replace('"/mnt/c"', '"s3://b/p"'))
    assert "same place" in faults(GOOD.replace('"/mnt/b"', '"/srv/vault"'))


def test_a_store_that_is_no_folder_has_no_neighbours():
    assert not faults(GOOD.replace('"/mnt/b"', '"s3://bucket/p"').replace('"/mnt/c"', '"memory:c"'))


def test_what_is_allowed_is_named_and_admitted():
    book = PolicyBook(
        {name: ClassPolicy(name) for name in HEALTHCARE}
        | {"phi": ClassPolicy("phi", ("home", "b"), moves=(Move(DAY, ("c", "d")),))},
        {name: StoreFacts(name) for name in ("home", "b", "c")} | {"d": StoreFacts("d", classes=frozenset({"public"}))},
    )
    assert book.allowed("phi") == {"home", "b", "c"}
    assert book.allowed("public") == {HOME}
    assert not problems(replace(book, policies={"public": ClassPolicy("public")}))
    assert [book.tier_rank(name) for name in ("home", "b", "unknown")] == [0, 1, 7]


def test_the_page_s_configuration_is_sound():
    page = (Path(__file__).parents[3] / "docs" / "tiers.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert not faults(text)
    assert dict(tiers(settings(text)).urls) == {"second": "store:second", "cold": "store:cold"}


def test_the_level_of_a_job_is_its_class_s():
    text = GOOD + "[policies.imaging]\nstores = ['home', 'second']\nlevel = 12\n[jobs.a]\npaths = ['/x']\n[jobs.b]\n"
    loaded = settings(text + "default_class = 'imaging'\n")
    assert (backup_options(loaded, "a").level, backup_options(loaded, "b").level) == (1, 12)
    assert backup_options(settings(HEAD + "[jobs.a]\n"), "a").level == 1
