"""Versions come, go and are named, without any TensorFlow: what is loaded is a stand-in that knows its folder."""

import gc
import threading
import time
import weakref

import pytest
from google.protobuf import text_format

from serving.caller import Caller
from serving.manager import Manager
from serving.protos import ModelServerConfig, ModelSpec, ModelVersionStatus
from serving.status import Code, ServingError

pytestmark = pytest.mark.slow


class Loaded:
    def __init__(self, path):
        if (path / "broken").exists():
            raise ServingError(Code.INTERNAL, f"cannot load {path}: broken")
        self.path = path

    def close(self):
        pass


@pytest.fixture
def base(tmp_path):
    return tmp_path / "m"


def publish(base, *versions):
    for version in versions:
        (base / str(version)).mkdir(parents=True)


def config(base, more="", name="m"):
    text = f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}'
    return text_format.Parse(f"model_config_list {{ {text} }}", ModelServerConfig())


@pytest.mark.parametrize("base", ["s3://bucket/m", "gs://bucket/m", "hdfs://host/m"])
def test_what_is_not_on_this_machine_is_refused_plainly(base):
    scheme = base.partition(":")[0]
    with pytest.raises(ServingError, match=f"File system scheme '{scheme}' not implemented") as caught:
        Manager(Loaded).reload(config(base))
    assert caught.value.code == Code.UNIMPLEMENTED


def test_a_file_s_uri_is_its_path(base):
    publish(base, 3)
    manager = Manager(Loaded)
    manager.reload(config(f"file://{base}"))
    assert served(manager) == 3


def test_a_new_model_is_waited_for(base):
    """As long as its caller waits: until a poll finds a version, or one that cannot be loaded."""
    base.mkdir()
    manager = Manager(Loaded)
    new = manager.reload(config(base))
    assert new == {"m"}
    with pytest.raises(ServingError, match="before every model was available"):
        manager.wait_for(new, Caller(time.monotonic() + 0.05))

    def later():
        time.sleep(0.05)
        publish(base, 1)
        manager.poll()

    thread = threading.Thread(target=later)
    thread.start()
    manager.wait_for(new, Caller(time.monotonic() + 20))
    assert served(manager) == 1 and manager.reload(config(base)) == set()
    thread.join()


def test_the_first_error_of_a_new_model_ends_the_wait(base):
    base.mkdir()
    manager = Manager(Loaded, retries=5)
    new = manager.reload(config(base))
    publish(base, 1)
    (base / "1" / "broken").touch()
    manager.poll()
    with pytest.raises(ServingError, match=r"did not become available: m version 1: .*broken"):
        manager.wait_for(new, Caller(time.monotonic() + 20))


def test_a_folder_that_cannot_be_read_keeps_no_other_model_waiting(base, tmp_path):
    """A name longer than any path, one with a zero in it, and a version that fails as no SavedModel does."""

    def load(path):
        if path.parent.name == "odd":
            raise MemoryError
        return Loaded(path)

    publish(base, 1)
    publish(tmp_path / "odd", 1)
    both = config("/" + "x" * 5000, name="a")
    for name, folder in (("b", "/x\\0y"), ("c", tmp_path / "odd"), ("m", base)):
        both.MergeFrom(config(folder, name=name))
    manager = Manager(load)
    with pytest.raises(ServingError, match=r"1 servable\(s\) did not become available: c version 1: .*MemoryError"):
        manager.reload(both)
    publish(base, 2)
    manager.poll()
    assert served(manager) == 2


def test_what_is_being_loaded_does_not_keep_a_server_from_ending(base):
    publish(base, 1)
    go, begun = threading.Event(), threading.Event()

    def load(path):
        begun.set()
        assert go.wait(20)
        return Loaded(path)

    manager = Manager(load)
    loading = threading.Thread(target=manager.reload, args=(config(base),))
    loading.start()
    assert begun.wait(5)
    started = time.monotonic()
    manager.close(0.1)
    assert time.monotonic() - started < 5
    go.set()
    loading.join()
    manager.close(5)
    until(lambda: states(manager) == {1: "END"})


def spec(version=None, label=None, name="m"):
    choice = {"version": {"value": version}} if version else {"version_label": label} if label else {}
    return ModelSpec(name=name, **choice)


def served(manager, **choice):
    with manager.serving(spec(**choice)) as (number, loaded):
        assert loaded.path.name == str(number)
        return number


def states(manager):
    return {v.number: ModelVersionStatus.State.Name(v.state) for v in manager.statuses(spec())}


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", {3}),
        ("model_version_policy { latest { num_versions: 2 } }", {2, 3}),
        ("model_version_policy { all { } }", {1, 2, 3}),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 8 } }", {1, 3}),
    ],
)
def test_a_policy_chooses_versions(base, policy, expected):
    publish(base, 1, 2, 3)
    (base / "not-a-version").mkdir()
    manager = Manager(Loaded)
    manager.reload(config(base, policy))
    assert set(states(manager)) == expected and served(manager) == 3
    for version in {1, 2, 3} - expected:
        with pytest.raises(ServingError, match="Servable not found"):
            served(manager, version=version)


def test_a_new_version_replaces_the_old_one_only_when_it_is_there(base):
    publish(base, 1)
    seen = []

    def load(path):
        seen.append(states(manager))  # while the new version loads
        return Loaded(path)

    manager = Manager(load)
    manager.reload(config(base))
    publish(base, 2)
    manager.poll()
    assert seen[-1] == {1: "AVAILABLE", 2: "LOADING"} and served(manager) == 2
    until(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_place(base):
    publish(base, 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    publish(base, 2)
    (base / "2" / "broken").touch()
    manager.poll()
    assert served(manager) == 1 and states(manager) == {1: "AVAILABLE", 2: "END"}
    assert manager.statuses(spec(version=2))[0].error.message.endswith("broken")
    (base / "2" / "broken").unlink()
    (base / "2").rename(base / "aside")
    manager.poll()
    (base / "aside").rename(base / "2")  # published anew, it is tried anew
    manager.poll()
    assert served(manager) == 2


def test_of_a_version_that_failed_only_the_error_stays(base):
    class Weights:
        pass

    loaded = []

    def load(path):
        weights = Weights()
        loaded.append(weakref.ref(weights))
        if (path / "broken").exists():
            raise ServingError(Code.INTERNAL, "its warm-up failed")
        return Loaded(path)

    publish(base, 1)
    manager = Manager(load)
    manager.reload(config(base))
    publish(base, 2)
    (base / "2" / "broken").touch()
    manager.poll()
    gc.collect()
    assert manager.statuses(spec(version=2))[0].error.message == "its warm-up failed"
    assert [weights() for weights in loaded] == [None, None]


def test_loading_is_tried_again(base):
    publish(base, 1)
    publish(base, 2)
    (base / "2" / "broken").touch()
    manager = Manager(Loaded, retries=2, retry_seconds=0.01)
    manager.reload(config(base, "model_version_policy { all { } }"))
    assert states(manager)[2] == "LOADING"
    (base / "2" / "broken").unlink()
    time.sleep(0.02)
    manager.poll()
    assert served(manager) == 2


def test_a_version_is_unloaded_when_its_last_request_is_done(base):
    publish(base, 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    with manager.serving(spec()) as (number, loaded):
        publish(base, 2)
        manager.poll()
        time.sleep(0.05)
        assert states(manager)[1] == "UNLOADING" and number == 1 and loaded.path.name == "1"
        assert served(manager) == 2
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"):
            served(manager, version=1)
    until(lambda: states(manager)[1] == "END")
    assert manager.statuses(spec(version=1))[0].servable is None


def test_a_version_whose_folder_goes_is_unloaded_and_one_that_comes_back_served_again(base):
    publish(base, 1, 2)
    manager = Manager(Loaded)
    manager.reload(config(base))
    (base / "2").rename(base / "aside")
    manager.poll()
    assert served(manager) == 1
    (base / "aside").rename(base / "2")
    manager.poll()
    assert served(manager) == 2


def test_a_base_path_that_vanishes_for_a_moment_changes_nothing(base):
    publish(base, 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    base.rename(base.with_name("away"))
    manager.poll()
    assert served(manager) == 1


def test_labels_name_versions_and_move(base):
    publish(base, 1, 2)
    everything = "model_version_policy { all { } }"
    manager = Manager(Loaded)
    # As in TensorFlow Serving, a label names what is available: in a model's first configuration nothing is.
    with pytest.raises(ServingError, match="version 1 of model m, which is not currently available") as caught:
        manager.reload(config(base, everything + ' version_labels { key: "stable" value: 1 }'))
    assert caught.value.code == Code.FAILED_PRECONDITION and manager.names == []
    manager.reload(config(base, everything))
    for version in (1, 2, 2):
        manager.reload(config(base, everything + f' version_labels {{ key: "stable" value: {version} }}'))
        assert served(manager, label="stable") == version
    with pytest.raises(ServingError, match="version 7 of model m, which is not currently available"):
        manager.reload(config(base, everything + ' version_labels { key: "stable" value: 7 }'))
    assert served(manager, label="stable") == 2
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        served(manager, label="canary")


def test_a_reload_refused_for_a_label_leaves_every_model_in_place(base, tmp_path):
    publish(base, 1)
    publish(tmp_path / "n", 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    with pytest.raises(ServingError, match="not currently available"):
        manager.reload(config(tmp_path / "n", 'version_labels { key: "stable" value: 1 }', name="n"))
    assert served(manager) == 1 and manager.names == ["m"]


def test_a_new_label_may_name_what_is_not_there_when_that_is_allowed(base):
    publish(base, 1)
    manager = Manager(Loaded, labels_of_unavailable=True)
    for _ in range(2):
        manager.reload(config(base, 'version_labels { key: "next" value: 2 }'))
    with pytest.raises(ServingError, match=r"Specific\(m, 2\)"):
        served(manager, label="next")
    publish(base, 2)
    manager.poll()
    assert served(manager, label="next") == 2
    with pytest.raises(ServingError, match="not currently available"):
        manager.reload(config(base, 'version_labels { key: "next" value: 3 }'))


def test_an_empty_configuration_changes_nothing(base):
    publish(base, 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    manager.reload(ModelServerConfig())
    assert served(manager) == 1


def test_a_folder_whose_number_is_too_large_for_a_version_is_passed_over(base):
    publish(base, 1, 2**63)
    manager = Manager(Loaded)
    manager.reload(config(base))
    assert served(manager) == 1 and list(states(manager)) == [1]


def test_a_model_left_out_of_the_configuration_goes(base, tmp_path):
    publish(base, 1)
    publish(tmp_path / "n", 4)
    manager = Manager(Loaded)
    manager.reload(config(base))
    manager.reload(config(tmp_path / "n", name="n"))
    assert served(manager, name="n") == 4
    until(lambda: states(manager) == {1: "END"})
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        served(manager)
    manager.reload(config(base))
    assert served(manager) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('model_config_list { config { name: "m" base_path: "m" model_platform: "tensorflow" } }', "absolute path"),
        ('model_config_list { config { name: "m" base_path: "/m" } }', "neither ModelServerConfig::model_type"),
        ('model_config_list { config { name: "m" base_path: "/m" model_platform: "x" } }', "unsupported platform x"),
        (
            "model_config_list {"
            ' config { name: "m" base_path: "/a" model_platform: "tensorflow" }'
            ' config { name: "m" base_path: "/b" model_platform: "tensorflow" } }',
            "list model m multiple times",
        ),
        ("custom_model_config { }", "custom_model_config is not supported"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_and_changes_nothing(base, text, said):
    publish(base, 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    with pytest.raises(ServingError, match=said) as caught:
        manager.reload(text_format.Parse(text, ModelServerConfig()))
    assert caught.value.code == Code.INVALID_ARGUMENT and served(manager) == 1


def test_nothing_to_serve_at_all_is_an_error(base):
    publish(base, 1)
    (base / "1" / "broken").touch()
    with pytest.raises(ServingError, match=r"m version 1: cannot load .*broken") as caught:
        Manager(Loaded).reload(config(base))
    assert caught.value.code == Code.UNKNOWN


@pytest.mark.slow
def test_requests_and_changes_at_the_same_time(base):
    publish(base, 1)
    manager = Manager(Loaded)
    manager.reload(config(base))
    wrong, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                with manager.serving(spec()) as (number, loaded):
                    if loaded is None or loaded.path.name != str(number):
                        wrong.append(number)
            except ServingError as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 12):
        publish(base, version)
        manager.poll()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and served(manager) == 11
