"""The files of serving/deploy/: each valid by its own schema, and all of one mind. Nothing is deployed here."""

from __future__ import annotations

import copy
import http.server
import json
import re
import subprocess
import sys
import sysconfig
import threading
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving import configs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "serving" / "deploy"
CONFIG = DEPLOY / "config"
KUBERNETES = DEPLOY / "kubernetes"

# tensorflow_serving/model_servers/main.cc at 2.20.0. The server only prints a note on a flag that it doesn't know.
TF_SERVING_FLAGS = """
    allow_version_labels_for_unavailable_models batching_parameters_file enable_batching
    enable_grpc_healthcheck_service enable_model_warmup enable_per_model_batching_parameters enable_profiler
    enable_serialization_as_tensor_content enable_signature_method_name_check file_system_poll_wait_seconds
    flush_filesystem_caches grpc_channel_arguments grpc_max_threads grpc_socket_path load_retry_interval_micros
    max_num_load_retries mixed_precision model_base_path model_config_file model_config_file_poll_wait_seconds
    model_name monitoring_config_file num_load_threads num_request_iterations_for_warmup
    num_tflite_interpreters_per_pool num_tflite_pools num_unload_threads per_process_gpu_memory_fraction
    platform_config_file port prefer_tflite_model remove_unused_fields_from_bundle_metagraph
    rest_api_enable_cors_support rest_api_num_threads rest_api_port rest_api_timeout_in_ms saved_model_tags
    skip_initialize_tpu ssl_config_file tensorflow_inter_op_parallelism tensorflow_intra_op_parallelism
    tensorflow_session_config_file tensorflow_session_parallelism thread_pool_factory_config_file
    use_alts_credentials version xla_cpu_compilation_enabled xla_gpu_compilation_enabled
"""

# The fields of session_bundle_config.proto and monitoring_config.proto at 2.20.0, which tensorflow-serving-api lacks.
INT64, BOOL, STRING = (f"google.protobuf.{kind}Value" for kind in ("Int64", "Bool", "String"))
TF_SERVING_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, INT64),
        "batch_timeout_micros": (2, INT64),
        "max_enqueued_batches": (3, INT64),
        "num_batch_threads": (4, INT64),
        "thread_pool_name": (5, STRING),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, BOOL),
        "max_execution_batch_size": (9, INT64),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, "tensorflow.serving.PrometheusConfig")},
}


def published_messages() -> dict[str, type]:
    field_type = descriptor_pb2.FieldDescriptorProto.Type
    file = descriptor_pb2.FileDescriptorProto(name="published.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in TF_SERVING_MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            kind, repeated = kind.removeprefix("repeated "), kind.startswith("repeated ")
            declared = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if "." in kind:
                declared.type, declared.type_name = field_type.Value("TYPE_MESSAGE"), f".{kind}"
            else:
                declared.type = field_type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    return {name: classes[f"tensorflow.serving.{name}"] for name in TF_SERVING_MESSAGES}


CONFIG_MESSAGES = {
    "models.config": ModelServerConfig,
    "batching.config": published_messages()["BatchingParameters"],
    "monitoring.config": published_messages()["MonitoringConfig"],
}


def read_config(name: str):
    return text_format.Parse((CONFIG / name).read_text(), CONFIG_MESSAGES[name]())


def interpolate(text: str, environment: dict[str, str]) -> str:
    """Compose's ${NAME:-default} and ${NAME:?error}."""

    def value(match: re.Match) -> str:
        name, operator, argument = match.groups()
        if environment.get(name):
            return environment[name]
        if operator == "?":
            raise KeyError(f"{name}: {argument}")
        return argument

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", value, text)


def read_compose(**environment: str) -> dict:
    return yaml.safe_load(interpolate((DEPLOY / "compose.yaml").read_text(), environment))


def read_manifests() -> dict[str, dict]:
    """The Kubernetes objects by kind."""
    paths = [path for path in sorted(KUBERNETES.iterdir()) if path.name != "kustomization.yaml"]
    manifests = [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text())]
    assert len({manifest["kind"] for manifest in manifests}) == len(manifests)
    return {manifest["kind"]: manifest for manifest in manifests}


def dockerfile() -> list[tuple[str, str]]:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in "\n".join(lines).replace("\\\n", "").splitlines() if line]


def flags(arguments: list[str]) -> dict[str, str]:
    return dict(re.fullmatch(r"--(\w+)=(\S+)", argument).groups() for argument in arguments)


def flags_to_uncomment(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^ *# - --(\w+)=(\S+)$", path.read_text(), re.MULTILINE))


COMPOSE = read_compose(MODELS="/srv/models")
SERVING, PAGE = COMPOSE["services"]["serving"], COMPOSE["services"]["page"]
MANIFESTS = read_manifests()
DEPLOYMENT = MANIFESTS["Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
SERVERS = {"compose": flags(SERVING["command"]), "kubernetes": flags(CONTAINER["args"])}
OPTIONAL = {
    "compose": flags_to_uncomment(DEPLOY / "compose.yaml"),
    "kubernetes": flags_to_uncomment(KUBERNETES / "deployment.yaml"),
}
MODEL = read_config("models.config").model_config_list.config[0].name


class TestServerConfigs:
    @pytest.mark.parametrize("name", CONFIG_MESSAGES)
    def test_is_what_tensorflow_serving_reads(self, name):
        assert read_config(name).ByteSize() > 0

    @pytest.mark.parametrize(
        ("name", "right", "wrong"),
        [
            ("models.config", "base_path", "basepath"),
            ("models.config", "num_versions: 1", "num_versions: one"),
            ("batching.config", "max_batch_size { value: 32 }", "max_batch_size: 32"),
            ("batching.config", "batch_timeout_micros", "batch_timeout_ms"),
            ("monitoring.config", "enable: true", "enable: yes_please"),
        ],
    )
    def test_a_mistake_would_be_seen(self, name, right, wrong):
        text = (CONFIG / name).read_text()
        assert right in text
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text.replace(right, wrong), CONFIG_MESSAGES[name]())

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("models.config", configs.ModelServerConfig),
            ("batching.config", configs.BatchingParameters),
            ("monitoring.config", configs.MonitoringConfig),
        ],
    )
    def test_embedded_server_reads_the_same(self, name, kind):
        assert text_format.MessageToString(configs.read_config(CONFIG / name, kind)) == text_format.MessageToString(
            read_config(name)
        )

    def test_one_model_by_its_latest_version(self):
        (model,) = read_config("models.config").model_config_list.config
        assert (model.name, model.base_path) == ("landslide", "/models/landslide")
        assert model.model_platform == "tensorflow"
        assert model.model_version_policy.latest.num_versions == 1

    def test_example_of_labels_is_valid_and_labels_served_versions(self):
        text = (CONFIG / "models.config").read_text()
        example = "\n".join(re.findall(r"^#     (.*)", text, re.MULTILINE))
        model = text_format.Parse(example, ModelConfig())
        assert dict(model.version_labels) == {"stable": 1, "canary": 2}
        assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)

    def test_batching_is_bounded_and_pads_nothing(self):
        batching = read_config("batching.config")
        for field in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            assert getattr(batching, field).value >= 1
        assert 0 <= batching.batch_timeout_micros.value < 100_000
        assert not batching.pad_variable_length_inputs
        sizes = list(batching.allowed_batch_sizes)
        assert sizes == sorted(sizes) and (not sizes or sizes[-1] == batching.max_batch_size.value)


class TestFlags:
    @pytest.mark.parametrize("where", SERVERS)
    def test_are_tensorflow_servings(self, where):
        given = SERVERS[where] | OPTIONAL[where]
        assert OPTIONAL[where] and set(given) <= set(TF_SERVING_FLAGS.split())

    @pytest.mark.parametrize("where", SERVERS)
    def test_name_files_that_are_mounted_where_they_say(self, where):
        files = {v for k, v in (SERVERS[where] | OPTIONAL[where]).items() if k.endswith("_file")}
        assert files == {f"/config/{name}" for name in CONFIG_MESSAGES}

    @pytest.mark.parametrize("where", SERVERS)
    def test_batching_is_off_and_comes_with_its_parameters(self, where):
        assert "enable_batching" not in SERVERS[where] and "batching_parameters_file" not in SERVERS[where]
        assert OPTIONAL[where] == {"enable_batching": "true", "batching_parameters_file": "/config/batching.config"}

    @pytest.mark.parametrize("where", SERVERS)
    def test_labels_survive_a_restart_and_nobody_profiles(self, where):
        assert SERVERS[where]["allow_version_labels_for_unavailable_models"] == "true"
        assert SERVERS[where]["enable_profiler"] == "false"
        assert int(SERVERS[where]["model_config_file_poll_wait_seconds"]) > 0

    def test_are_the_same_but_for_what_a_cluster_adds(self):
        more = {"grpc_channel_arguments", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"}
        cluster = {name: value for name, value in SERVERS["kubernetes"].items() if name not in more}
        assert cluster == SERVERS["compose"]
        assert more < set(SERVERS["kubernetes"])

    def test_image_is_the_same_and_pinned(self):
        assert CONTAINER["image"] == SERVING["image"]
        assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", SERVING["image"])

    def test_server_is_started_without_the_images_shell(self):
        assert SERVING["entrypoint"] == CONTAINER["command"] == ["tensorflow_model_server"]


class TestCompose:
    validator = jsonschema.Draft202012Validator(get_builtin_schema("vendor.compose-spec"))

    def test_is_valid(self):
        self.validator.validate(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))
        self.validator.validate(COMPOSE)

    @pytest.mark.parametrize(
        "mistake",
        [
            {"restart_policy": "always"},
            {"healthcheck": {"tests": ["CMD", "true"]}},
            {"volumes": [{"source": "/srv/models", "target": "/models"}]},
            {"depends_on": {"serving": {"condition": "healthy"}}},
            {"read_only": "certainly", "ports": {"8500": 8500}},
        ],
    )
    def test_a_mistake_would_be_seen(self, mistake):
        broken = copy.deepcopy(COMPOSE)
        broken["services"]["page"] |= mistake
        with pytest.raises(jsonschema.ValidationError):
            self.validator.validate(broken)

    def test_without_models_it_says_what_to_set(self):
        with pytest.raises(KeyError, match="MODELS: set MODELS to the absolute path of the folder"):
            read_compose()

    def test_ports_are_published_on_this_machine_alone_unless_asked(self):
        ports = {"8500", "8501", "7860"}
        for environment, address in (({}, "127.0.0.1"), ({"BIND_ADDRESS": "0.0.0.0"}, "0.0.0.0")):
            services = read_compose(MODELS="/srv/models", **environment)["services"].values()
            published = [port.rsplit(":", 2) for service in services for port in service["ports"]]
            assert {host for host, *_ in published} == {address}
            assert {outside for _, outside, _ in published} == {inside for *_, inside in published} == ports

    def test_published_ports_are_those_that_the_services_listen_on(self):
        inside = {name: {p.rsplit(":")[-1] for p in s["ports"]} for name, s in COMPOSE["services"].items()}
        assert inside["serving"] == {SERVERS["compose"]["port"], SERVERS["compose"]["rest_api_port"]}
        assert inside["page"] == {rest for instruction, rest in dockerfile() if instruction == "EXPOSE"}

    def test_models_and_configs_are_mounted_where_they_are_looked_for_and_read_only(self):
        mounts = {mount["target"]: mount for mount in SERVING["volumes"]}
        assert set(mounts) == {"/models", "/config"}
        assert all(mount["read_only"] for mount in mounts.values())
        assert mounts["/models"]["source"] == "/srv/models"
        assert mounts["/models"]["bind"]["create_host_path"] is False
        assert (DEPLOY / mounts["/config"]["source"]).resolve() == CONFIG
        assert {path.name for path in CONFIG.iterdir()} == set(CONFIG_MESSAGES)
        model = read_config("models.config").model_config_list.config[0]
        assert Path(model.base_path).parent == Path("/models")

    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_service_has_no_privileges(self, name):
        service = COMPOSE["services"][name]
        user = service.get("user") or dict(dockerfile())["USER"]
        assert all(int(number) > 0 for number in user.split(":"))
        assert service["read_only"] is True and service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]

    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_service_comes_back_and_hears_the_signal_to_stop(self, name):
        service = COMPOSE["services"][name]
        assert service["restart"] == "unless-stopped" and service["init"] is True

    def test_page_waits_for_the_server_and_asks_it(self):
        assert PAGE["depends_on"] == {"serving": {"condition": "service_healthy"}}
        given = dict(zip(PAGE["command"][::2], PAGE["command"][1::2], strict=True))
        url = urlsplit(given["--server"])
        assert (url.scheme, url.hostname, url.path) == ("grpc", "serving", f"/{MODEL}")
        assert str(url.port) == SERVERS["compose"]["port"]
        assert given["--host"] == "0.0.0.0"

    def test_page_is_built_from_the_repository_by_our_dockerfile(self):
        context = (DEPLOY / PAGE["build"]["context"]).resolve()
        assert context == ROOT
        assert context / PAGE["build"]["dockerfile"] == DEPLOY / "Dockerfile"


@contextmanager
def http_server(path: str, status: int, body: str):
    """A server on a free port that knows one path; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            content = body.encode() if self.path == path else b"{}"
            self.send_response(status if self.path == path else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def model_status(state: str, error_code: str) -> str:
    status = {"version": "1", "state": state, "status": {"error_code": error_code, "error_message": ""}}
    return json.dumps({"model_version_status": [status]}, indent=1)


class TestHealthchecks:
    """Both healthchecks are run, against a server of the test's."""

    def server_is_healthy(self, port: int) -> bool:
        kind, *command = SERVING["healthcheck"]["test"]
        rest = f"/dev/tcp/127.0.0.1/{SERVERS['compose']['rest_api_port']}"
        assert kind == "CMD" and command[-1].count(rest) == 1
        command[-1] = command[-1].replace(rest, f"/dev/tcp/127.0.0.1/{port}")
        return subprocess.run(command, timeout=20, capture_output=True).returncode == 0

    def page_is_healthy(self, port: int) -> bool:
        check = json.loads(dict(dockerfile())["HEALTHCHECK"].partition("CMD ")[2])
        assert check[0] == "python" and check[-1].count("127.0.0.1:7860") == 1
        check[-1] = check[-1].replace(":7860", f":{port}")
        return subprocess.run([sys.executable, *check[1:]], timeout=20, capture_output=True).returncode == 0

    @pytest.mark.parametrize(
        ("status", "body", "healthy"),
        [
            (200, model_status("AVAILABLE", "OK"), True),
            (200, model_status("END", "UNAVAILABLE"), False),
            (404, '{"error": "Could not find any versions of model landslide"}', False),
        ],
    )
    def test_server_is_healthy_while_the_model_is_available(self, status, body, healthy):
        with http_server(f"/v1/models/{MODEL}", status, body) as port:
            assert self.server_is_healthy(port) is healthy

    @pytest.mark.parametrize(("status", "healthy"), [(200, True), (500, False)])
    def test_page_is_healthy_while_it_answers(self, status, healthy):
        with http_server("/", status, "<html>") as port:
            assert self.page_is_healthy(port) is healthy

    def test_nobody_is_healthy_who_does_not_listen(self):
        with http_server("/", 200, "") as port:
            pass
        assert not self.server_is_healthy(port) and not self.page_is_healthy(port)

    def test_an_interval_is_as_long_as_an_answer_may_take(self):
        seconds = {key: int(SERVING["healthcheck"][key].removesuffix("s")) for key in ("interval", "timeout")}
        assert seconds["timeout"] <= seconds["interval"]


class TestDockerfile:
    def test_hadolint_has_no_complaint(self):
        hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
        done = subprocess.run([hadolint, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")

    def test_starts_from_python_leaves_root_and_keeps_no_cache(self):
        instructions = dockerfile()
        assert instructions[0] == ("FROM", "python:3.11-slim")
        assert [name for name, _ in instructions].count("USER") == 1
        installs = [rest for name, rest in instructions if name == "RUN" and "pip install" in rest]
        assert installs and all("--no-cache-dir" in install for install in installs)

    def test_runs_the_page(self):
        instructions = dict(dockerfile())
        assert json.loads(instructions["ENTRYPOINT"]) == ["python", "gradio_app.py"]
        assert json.loads(instructions["CMD"]) == ["--host", "0.0.0.0"]

    def test_copies_what_is_there_and_gets_past_the_ignore_file(self):
        copied = [rest.split()[0] for name, rest in dockerfile() if name == "COPY"]
        assert {"requirements.txt", "gradio_app.py", "tf_landslide", "serving"} == set(copied)
        assert all((ROOT / source).exists() for source in copied)
        assert not [source for source in copied if self.ignored(source)]
        assert not self.ignored("tf_landslide/predict/predictor.py") and not self.ignored("serving/__init__.py")

    @pytest.mark.parametrize(
        "path",
        [".git/config", ".venv/pyvenv.cfg", "runs/a", "models/landslide/1", "tests/conftest.py", "serving/deploy/x"],
    )
    def test_sends_nothing_else_to_the_builder(self, path):
        assert self.ignored(path)

    @staticmethod
    def ignored(path: str) -> bool:
        """Docker's rule: the last pattern that fits the path or a folder above it decides."""
        lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        above = [path, *(str(parent) for parent in Path(path).parents)]
        result = False
        for pattern in (line for line in lines if line and not line.startswith("#")):
            if any(fnmatch(candidate, pattern.removeprefix("!")) for candidate in above if candidate != "."):
                result = not pattern.startswith("!")
        return result


class TestKubernetes:
    kinds = (
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
    )

    @pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
    @pytest.mark.parametrize("kind", kinds)
    def test_manifest_is_valid(self, kind, version):
        assert version.startswith(kubernetes_validate.validate(MANIFESTS[kind], version, strict=True))

    @pytest.mark.parametrize(
        ("kind", "path", "value"),
        [
            ("Deployment", "spec.replicas", "two"),
            ("Deployment", "spec.template.spec.readOnlyRootFilesystem", True),
            ("Deployment", "spec.template.spec.securityContext.seccompProfiles", {}),
            ("Service", "spec.ports", [{"name": "grpc"}]),
            ("HorizontalPodAutoscaler", "spec.maxReplicas", None),
            ("PersistentVolumeClaim", "spec.accessModes", "ReadOnlyMany"),
            ("PodDisruptionBudget", "spec.minReplicas", 1),
            ("ConfigMap", "data.models", {"config": ""}),
        ],
    )
    def test_a_mistake_would_be_seen(self, kind, path, value):
        broken = copy.deepcopy(MANIFESTS[kind])
        *above, last = path.split(".")
        target = broken
        for key in above:
            target = target[key]
        target[last] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)

    def test_kustomization_has_every_manifest(self):
        # No schema of it is to be had offline: it holds these three fields and no other.
        kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
        manifests = {path.name for path in KUBERNETES.iterdir()} - {"kustomization.yaml"}
        assert set(kustomization) == {"apiVersion", "kind", "resources"}
        assert kustomization["apiVersion"] == "kustomize.config.k8s.io/v1beta1"
        assert kustomization["kind"] == "Kustomization"
        assert sorted(kustomization["resources"]) == sorted(manifests)
        assert set(MANIFESTS) == set(self.kinds)

    def test_configmap_holds_the_files_word_for_word(self):
        assert MANIFESTS["ConfigMap"]["data"] == {path.name: path.read_text() for path in CONFIG.iterdir()}

    def test_selectors_and_references_meet(self):
        labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
        selectors = [
            DEPLOYMENT["spec"]["selector"]["matchLabels"],
            MANIFESTS["Service"]["spec"]["selector"],
            MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
            POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        ]
        assert all(selector and selector.items() <= labels.items() for selector in selectors)
        target = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
        assert target == {
            "apiVersion": DEPLOYMENT["apiVersion"],
            "kind": "Deployment",
            "name": DEPLOYMENT["metadata"]["name"],
        }

    def test_volumes_are_mounted_where_they_are_looked_for_and_read_only(self):
        volumes = {volume["name"]: volume for volume in POD["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes)
        claim = volumes[mounts["/models"]["name"]]["persistentVolumeClaim"]
        assert claim == {"claimName": MANIFESTS["PersistentVolumeClaim"]["metadata"]["name"], "readOnly": True}
        assert MANIFESTS["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadOnlyMany"]
        config = volumes[mounts["/config"]["name"]]["configMap"]
        assert config == {"name": MANIFESTS["ConfigMap"]["metadata"]["name"]}
        assert mounts["/models"]["readOnly"] and mounts["/config"]["readOnly"]
        assert "subPath" not in mounts["/config"]  # which would never see an edited ConfigMap

    def test_ports_agree(self):
        ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
        given = SERVERS["kubernetes"]
        assert ports == {"grpc": int(given["port"]), "rest": int(given["rest_api_port"])}
        service = MANIFESTS["Service"]["spec"]["ports"]
        assert {port["name"]: port["port"] for port in service} == ports
        assert all(port["targetPort"] == port["name"] for port in service)

    def test_probes_ask_what_the_server_answers(self):
        ports = {port["name"] for port in CONTAINER["ports"]}
        assert CONTAINER["startupProbe"]["httpGet"] == {"path": f"/v1/models/{MODEL}", "port": "rest"}
        assert CONTAINER["readinessProbe"]["httpGet"] == {"path": f"/v1/models/{MODEL}/metadata", "port": "rest"}
        assert CONTAINER["livenessProbe"]["tcpSocket"]["port"] in ports
        startup = CONTAINER["startupProbe"]
        minutes = startup["periodSeconds"] * startup["failureThreshold"] / 60
        assert SERVING["healthcheck"]["start_period"] == f"{minutes:g}m"

    def test_prometheus_finds_the_metrics(self):
        annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
        monitoring = read_config("monitoring.config").prometheus_config
        assert annotations == {
            "prometheus.io/scrape": str(monitoring.enable).lower(),
            "prometheus.io/port": SERVERS["kubernetes"]["rest_api_port"],
            "prometheus.io/path": monitoring.path,
        }

    def test_pod_meets_the_restricted_pod_security_standard(self):
        pod, container = POD["securityContext"], CONTAINER["securityContext"]
        assert pod["runAsNonRoot"] is True and pod["runAsUser"] > 0 and pod["runAsGroup"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(POD)
        assert all({"configMap", "emptyDir", "persistentVolumeClaim"} & set(volume) for volume in POD["volumes"])
        assert POD["automountServiceAccountToken"] is False
        assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == SERVING["user"]

    def test_replicas_autoscaler_and_budget_leave_a_server(self):
        autoscaler = MANIFESTS["HorizontalPodAutoscaler"]["spec"]
        replicas = DEPLOYMENT["spec"]["replicas"]
        assert replicas == autoscaler["minReplicas"] == 2 < autoscaler["maxReplicas"]
        assert 1 <= MANIFESTS["PodDisruptionBudget"]["spec"]["minAvailable"] < replicas
        assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert [metric["resource"]["name"] for metric in autoscaler["metrics"]] == ["cpu"]
        assert "cpu" in CONTAINER["resources"]["requests"]  # of which the autoscaler's target is a share

    def test_threads_are_as_many_as_the_cpus_requested(self):
        cpus = CONTAINER["resources"]["requests"]["cpu"]
        given = SERVERS["kubernetes"]
        assert given["tensorflow_intra_op_parallelism"] == given["tensorflow_inter_op_parallelism"] == cpus
        assert "cpu" not in CONTAINER["resources"]["limits"] and "memory" in CONTAINER["resources"]["limits"]

    def test_a_stopping_replica_outlives_its_connections(self):
        arguments = dict(a.split("=") for a in SERVERS["kubernetes"]["grpc_channel_arguments"].split(","))
        longest = 1.1 * int(arguments["grpc.max_connection_age_ms"]) / 1000  # gRPC varies it by ten percent
        command, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
        assert command == "sleep"
        assert longest + 10 < int(seconds) < POD["terminationGracePeriodSeconds"]
