// Finds a Pod that runs and talks with its container, with the JavaScript client. Prints a line for each.

import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';

const [, , kubeconfig, modules] = process.argv;
// The client is installed beside the tools, not beside this file.
const k8s = await import(createRequire(`${modules}/`).resolve('@kubernetes/client-node'));
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const late = setTimeout(() => { console.error('not done after a minute'); process.exit(1); }, 60_000);
const [namespace, name] = ['tour', 'tools'];

function done(what, expected, found) {
  if (!isDeepStrictEqual(expected, found)) {
    console.error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
    process.exit(1);
  }
  console.log(what);
}

function gathered(stream) {
  let text = '';
  stream.on('data', (chunk) => { text += chunk; });
  return () => text;
}

const phase = await new Promise((resolve, reject) => {
  const seen = (_, pod) => { if (pod.metadata.name === name) resolve(pod.status.phase); };
  new k8s.Watch(config).watch(`/api/v1/namespaces/${namespace}/pods`, {}, seen, reject).catch(reject);
});
done('watch', 'Running', phase);

const [stdout, stderr] = [new PassThrough(), new PassThrough()];
const [out, err] = [gathered(stdout), gathered(stderr)];
const script = ['sh', '-c', 'echo out; echo err >&2; exit 3'];
const status = await new Promise((resolve, reject) => {
  new k8s.Exec(config).exec(namespace, name, 'tools', script, stdout, stderr, null, false, resolve).catch(reject);
});
done('exec', ['out\n', 'err\n', 'NonZeroExitCode'], [out(), err(), status.reason]);

const [stdin, echoed] = [new PassThrough(), new PassThrough()];
const first = new Promise((resolve) => echoed.once('data', (chunk) => resolve(chunk.toString())));
const typing = await new k8s.Exec(config)
  .exec(namespace, name, 'tools', ['cat'], echoed, new PassThrough(), stdin, false);
stdin.write('typed\n');
done('exec with input', 'typed\n', await first);
typing.close();
clearTimeout(late);
process.exit(0);
