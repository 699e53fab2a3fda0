"""Lists, watches, applies, runs a command and forwards a port with the Python client. Prints a line for each."""

import sys
import threading

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.stream import portforward, stream

config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()


def done(what, expected, found):
    if expected != found:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")
    print(what)


# Objects.
core.create_namespace({"metadata": {"name": "py"}})
done("list", True, "py" in [found.metadata.name for found in core.list_namespace().items])

seen = []
watching = watch.Watch()
# From here on, however late the thread begins.
version = core.list_namespaced_config_map("py").metadata.resource_version


def follow():
    for event in watching.stream(
        core.list_namespaced_config_map, "py", resource_version=version, timeout_seconds=20
    ):
        if event["object"].metadata.name != "a":
            continue
        seen.append((event["type"], dict(event["object"].data or {})))
        if len(seen) == 3:
            watching.stop()


thread = threading.Thread(target=follow)
thread.start()
core.create_namespaced_config_map("py", {"metadata": {"name": "a"}, "data": {"k": "1"}})
core.patch_namespaced_config_map("a", "py", {"data": {"k": "2"}})
core.delete_namespaced_config_map("a", "py")
thread.join(20)
done("watch", [("ADDED", {"k": "1"}), ("MODIFIED", {"k": "2"}), ("DELETED", {"k": "2"})], seen)

deployment = yaml.safe_load("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: py}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
""")
utils.create_from_dict(client.ApiClient(), deployment)
done("create", 1, apps.read_namespaced_deployment("web", "py").spec.replicas)
found = apps.read_namespaced_deployment("web", "py")
found.spec.replicas = 2
done("replace", 2, apps.replace_namespaced_deployment("web", "py", found).spec.replicas)
kinds = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="apps/v1", kind="Deployment")
deployment["spec"]["replicas"] = 3
applied = kinds.server_side_apply(body=deployment, name="web", namespace="py", field_manager="py", force_conflicts=True)
done("apply", 3, applied.spec.replicas)
scale = apps.patch_namespaced_deployment_scale("web", "py", {"spec": {"replicas": 5}})
done("scale", 5, scale.spec.replicas)
try:
    core.read_namespaced_secret("absent", "py")
    sys.exit("an absent secret was read")
except client.ApiException as error:
    done("errors", (404, "NotFound"), (error.status, yaml.safe_load(error.body)["reason"]))

# Streams.
containers = [{"name": "main", "image": "nginx"}, {"name": "side", "image": "nginx"}]
core.create_namespaced_pod("py", {"metadata": {"name": "p"}, "spec": {"nodeName": "here", "containers": containers}})
done("log", "line\n", core.read_namespaced_pod_log("p", "py", container="main"))
exec_ = core.connect_get_namespaced_pod_exec
ended = stream(exec_, "p", "py", command=["3"], container="side", stdout=True, stderr=True, _preload_content=False)
ended.run_forever(timeout=20)
done("exec", ("side tty=false\n", 3), (ended.read_stderr(), ended.returncode))
typed = stream(exec_, "p", "py", command=["0"], container="main", stdin=True, stdout=True, _preload_content=False)
typed.write_stdin("typed\n")
done("exec with input", "typed", typed.readline_stdout(timeout=20))
typed.close()
forward = portforward(core.connect_get_namespaced_pod_portforward, "p", "py", ports="8080")
socket = forward.socket(8080)
socket.setblocking(True)
socket.sendall(b"ping")
done("port-forward", b"ping", socket.recv(4))
