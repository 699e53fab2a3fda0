"""Finds a Pod that runs and talks with its container, with the Python client. Prints a line for each."""

import sys

from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
namespace, name = "tour", "tools"


def done(what, expected, found):
    if expected != found:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")
    print(what)


for event in watch.Watch().stream(core.list_namespaced_pod, namespace, timeout_seconds=20):
    if event["object"].metadata.name == name:
        done("watch", "Running", event["object"].status.phase)
        break


def run(command, **how):
    return stream(core.connect_get_namespaced_pod_exec, name, namespace, command=command, stdout=True, stderr=True, **how)


ended = run(["sh", "-c", "echo out; echo err >&2; exit 3"], _preload_content=False)
ended.run_forever(timeout=20)
done("exec", ("out\n", "err\n", 3), (ended.read_stdout(), ended.read_stderr(), ended.returncode))
typed = run(["cat"], stdin=True, _preload_content=False)
typed.write_stdin("typed\n")
done("exec with input", "typed", typed.readline_stdout(timeout=20))
typed.close()
