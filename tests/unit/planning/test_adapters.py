"""ADAPTER in a plan: which count, what they are called, what is missing of them, what the engines are told."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit import engines
from modelkit.contract.profile import Profile
from modelkit.engines import vllm_adapters
from modelkit.engines.word import argv
from modelkit.failure import Failure
from modelkit.planning.facts import Facts
from modelkit.planning.locking import settings_digest
from modelkit.planning.plan import ModelSource, Origin, Plan, ServedAdapter
from tests.unit.planning.test_resolve import facts, plan

TWO = "FROM ./m.gguf\nNAME support\nADAPTER ./tone.gguf AS kind\nADAPTER ./facts.gguf\n"


def served(name: str, rank: int | None = 8, **more: Any) -> ServedAdapter:
    return ServedAdapter(**{"name": name, "reference": f"./{name}", "origin": Origin(kind="modelfile", where="M:3"),
                            "form": "safetensors", "path": f"/a/{name}", "digest": "sha256:3", "rank": rank, **more})


def known(*adapters: ServedAdapter, **more: Any) -> Facts:
    return facts(adapters=adapters, **more)


def names(text: str, stage: str = "dev") -> list[str]:
    return [one.name for one in plan(text, stage).adapters]


def flags(made: Plan) -> dict[str, Any]:
    return {word.flag: word.value for word in vllm_adapters.lora_words(made)}


@pytest.mark.parametrize(("text", "wanted"), [
    ("FROM ./m.gguf\n", []),
    ("FROM ./m.gguf\nNAME a\nADAPTER ./x AS b\nADAPTER ./y AS c\n", ["b", "c"]),
    ("FROM ./m.gguf\nNAME a\nADAPTER ./x\n", ["a"]),
    ("FROM ./m.gguf\nNAME a\nADAPTER ./x AS a\n", ["a"]),
    (TWO, ["kind", "support"]),
    (TWO + "STAGE dev {\n  ADAPTER ./other AS other\n}\n", ["other"]),
    (TWO + "STAGE dev {\n  UNSET ADAPTER\n}\n", []),
])
def test_adapters_are_called_by_as_or_as_the_model_itself(text: str, wanted: list[str]) -> None:
    assert names(text) == wanted
    assert Profile.from_json(plan(text).profile).adapters == tuple(wanted)


def test_of_several_without_as_the_last_counts_as_in_ollama() -> None:
    (one,) = plan("FROM ./m.gguf\nADAPTER ./tone.gguf\nADAPTER ./facts.gguf\n").adapters
    assert (one.reference, one.origin.where) == ("./facts.gguf", "Modelfile:3")


def test_another_adapter_is_another_setting_for_the_lock() -> None:
    assert settings_digest(plan(TWO)) != settings_digest(plan(TWO.replace("tone", "mood")))
    assert settings_digest(plan(TWO)) != settings_digest(plan(TWO.replace("AS kind", "AS cruel")))
    said = plan(TWO).setting("adapters")
    assert said is not None and said.value == ["./tone.gguf AS kind", "./facts.gguf"]


@pytest.mark.parametrize(("here", "tools", "codes"), [
    ((), (), ["download", "download"]),
    ((served("kind", form="gguf"), served("support", form="gguf")), (), []),
    ((served("kind", path=None), served("support", form="gguf")), ("converter",), ["convert"]),
    ((served("kind", path=None), served("support", form="gguf")), (), ["convert", "tool"]),
])
def test_what_is_missing_is_a_need(here: tuple[ServedAdapter, ...], tools: tuple[str, ...], codes: list[str]) -> None:
    needs = plan(TWO, known=known(*here, tools=frozenset(tools))).needs
    assert [need.code for need in needs] == codes
    assert all(need.automatic == (need.code != "tool") for need in needs)


@pytest.mark.parametrize(("ranks", "choice"), [
    ((1,), 1), ((2,), 8), ((8,), 8), ((8, 9), 16), ((64,), 64), ((257,), 320), ((321,), 512), ((512,), 512)])
def test_vllm_gets_the_smallest_rank_that_it_has_a_place_for(ranks: tuple[int, ...], choice: int) -> None:
    text = "FROM ./m.gguf\n" + "".join(f"ADAPTER ./a{n} AS a{n}\n" for n in range(len(ranks)))
    here = known(*(served(f"a{n}", rank) for n, rank in enumerate(ranks)))
    assert flags(plan(text, "prod", here))["--max-lora-rank"] == str(choice)


def test_a_rank_beyond_vllms_is_refused_with_the_fix() -> None:
    with pytest.raises(Failure) as caught:
        engines.launch(plan("FROM ./m.gguf\nADAPTER ./a AS a\n", "prod", known(served("a", 513))))
    assert caught.value.code == "adapter-rank" and "513" in caught.value.message and "512" in caught.value.message
    assert caught.value.hint is not None and "merge" in caught.value.hint


def test_each_adapter_is_a_model_of_vllms_and_the_base_has_a_name_that_no_client_can_send() -> None:
    made = plan(TWO, "prod", known(served("kind"), served("support", 32)))
    words = argv(vllm_adapters.lora_words(made))
    assert words == ("--enable-lora", "--lora-modules", "kind=/a/kind", "support=/a/support", "--max-lora-rank", "32",
                     "--max-loras", "2")
    assert vllm_adapters.served_name(made) == "support@base"
    assert vllm_adapters.served_name(plan("FROM ./m.gguf\nNAME support\nADAPTER ./x AS kind\n", "prod")) == "support"


def test_many_adapters_share_the_places_on_the_device() -> None:
    text = "FROM ./m.gguf\n" + "".join(f"ADAPTER ./a{n} AS a{n}\n" for n in range(11))
    said = flags(plan(text, "prod", known(*(served(f"a{n}") for n in range(11)))))
    assert (said["--max-loras"], said["--max-cpu-loras"]) == ("8", "11")


def test_a_path_that_vllm_would_read_as_json_is_said_as_json() -> None:
    made = plan("FROM ./m.gguf\nADAPTER ./a AS a\n", "prod", known(served("a", path="/x,y=z/a")))
    assert flags(made)["--lora-modules"] == ('{"name": "a", "path": "/x,y=z/a"}',)


def test_containers_find_adapters_under_their_names() -> None:
    here = [served(name, source=ModelSource(kind="folder", name=f"/a/{name}")) for name in ("org/kind", "org-kind")]
    text = "FROM ./m.gguf\nADAPTER ./x AS org/kind\nADAPTER ./y AS org-kind\n"
    made = plan(text, "prod", known(*here))
    paths = [mount.path for mount in vllm_adapters.lora_mounts(made)]
    assert paths == ["/models/adapters/org-kind", "/models/adapters/org-kind-"]
    words = {word.flag: word.value for word in vllm_adapters.lora_words(made, contained=True)}
    assert words["--lora-modules"] == tuple(f"{one.name}={path}" for one, path in zip(here, paths, strict=True))


def test_a_hub_adapter_that_a_container_would_fetch_without_a_revision_is_refused() -> None:
    hub = ModelSource(kind="hub", name="acme/tone", revision="0" * 40)
    made = plan("FROM ./m.gguf\nADAPTER hf.co/acme/tone AS tone\n", "prod", known(served("tone", source=hub)))
    with pytest.raises(Failure) as caught:
        vllm_adapters.lora_words(made, contained=True)
    assert caught.value.code == "adapter-unpinned" and "modelkit push" in str(caught.value.hint)


def test_llama_cpp_gets_them_in_the_order_in_which_requests_number_them() -> None:
    made = plan(TWO, "dev", known(served("support", form="gguf"), served("kind", form="gguf")))
    launch = engines.launch(made)
    config = next(file.content for file in launch.files if file.path == "llama_host.json")
    assert config.index("/a/kind") < config.index("/a/support")
    assert made.profile["adapters"] == ["kind", "support"]
