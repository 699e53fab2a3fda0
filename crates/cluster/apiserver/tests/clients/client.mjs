// Lists, watches, applies, runs a command and forwards a port with the JavaScript client. Prints a line for each.

import { PassThrough } from 'node:stream';
import { createRequire } from 'node:module';

// The client is installed beside the tools, not beside this file.
const k8s = await import(createRequire(`${process.argv[3]}/`).resolve('@kubernetes/client-node'));

const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

function done(what, expected, found) {
  if (JSON.stringify(expected) !== JSON.stringify(found)) {
    console.error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
    process.exit(1);
  }
  console.log(what);
}

const late = setTimeout(() => {
  console.error('it takes too long');
  process.exit(1);
}, 40_000);

// Objects.
const namespace = 'js';
await core.createNamespace({ body: { metadata: { name: namespace } } });
const listed = await core.listNamespace();
done('list', true, listed.items.some((item) => item.metadata.name === namespace));

const seen = [];
// From here on, however late the watch begins.
const { metadata: { resourceVersion } } = await core.listNamespacedConfigMap({ namespace });
const watched = new Promise((resolve, reject) => {
  new k8s.Watch(config)
    .watch(`/api/v1/namespaces/${namespace}/configmaps`, { resourceVersion }, (type, object) => {
      if (object.metadata.name !== 'a') return;
      seen.push([type, object.data]);
      if (seen.length === 3) resolve();
    }, (error) => reject(error ?? new Error('the watch ended')))
    .catch(reject);
});
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'a' }, data: { k: '1' } } });
const first = await core.readNamespacedConfigMap({ namespace, name: 'a' });
first.data.k = '2';
await core.replaceNamespacedConfigMap({ namespace, name: 'a', body: first });
await core.deleteNamespacedConfigMap({ namespace, name: 'a' });
await watched;
done('watch', [['ADDED', { k: '1' }], ['MODIFIED', { k: '2' }], ['DELETED', { k: '2' }]], seen);

const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'web', image: 'nginx' }] } },
  },
};
const created = await objects.create(structuredClone(deployment));
done('create', 2, created.spec.replicas);
deployment.spec.replicas = 3;
const applied = await objects.patch(
  deployment, undefined, undefined, 'js', true, k8s.PatchStrategy.ServerSideApply,
);
done('apply', 3, applied.spec.replicas);
const missing = await core.readNamespacedSecret({ namespace, name: 'absent' }).catch((error) => error);
done('errors', [404, 'NotFound'], [missing.code, JSON.parse(missing.body).reason]);

// Streams.
const containers = [{ name: 'main', image: 'nginx' }, { name: 'side', image: 'nginx' }];
await core.createNamespacedPod({
  namespace, body: { metadata: { name: 'p' }, spec: { nodeName: 'here', containers } },
});
done('log', 'line\n', await core.readNamespacedPodLog({ namespace, name: 'p', container: 'main' }));

function gathered(stream) {
  let text = '';
  stream.on('data', (chunk) => { text += chunk; });
  return () => text;
}
const [stdout, stderr] = [new PassThrough(), new PassThrough()];
const [out, err] = [gathered(stdout), gathered(stderr)];
const status = await new Promise((resolve, reject) => {
  new k8s.Exec(config)
    .exec(namespace, 'p', 'side', ['3'], stdout, stderr, null, false, resolve)
    .catch(reject);
});
done('exec', ['', 'side tty=false\n', 'NonZeroExitCode'], [out(), err(), status.reason]);

const [stdin, echoed] = [new PassThrough(), new PassThrough()];
const first_bytes = new Promise((resolve) => echoed.once('data', (chunk) => resolve(chunk.toString())));
const typing = await new k8s.Exec(config)
  .exec(namespace, 'p', 'main', ['0'], echoed, new PassThrough(), stdin, false);
stdin.write('typed\n');
done('exec with input', 'typed\n', await first_bytes);
typing.close();

const [to, from] = [new PassThrough(), new PassThrough()];
const answer = new Promise((resolve) => from.once('data', (chunk) => resolve(chunk.toString())));
const forward = await new k8s.PortForward(config).portForward(namespace, 'p', [8080], from, new PassThrough(), to);
to.write('ping');
done('port-forward', 'ping', await answer);
(typeof forward === 'function' ? forward() : forward)?.close?.();
clearTimeout(late);
process.exit(0);
