// Two nodes of ours and the conformance set's reference peer in one cluster: records travel in both directions.
// .ci/conformance runs these cases with those of the set, from a copy of it, whose lib they use.
import { eq, joined, ok, status } from '../../lib/world.mjs';
import { Odyn } from '../../lib/odyn.mjs';
import { AppClient } from '../../lib/client.mjs';
import { NodeProc, freePort } from '../../lib/node.mjs';
import { until } from '../../lib/http.mjs';

const WAIT_MS = 20000;
const TTL_MS = 8000; // longer than any of the other ways takes, and shorter than WAIT_MS

/** Starts another node of ours and waits until it serves. */
async function addOurs(w) {
  const odyn = new Odyn();
  await odyn.up();
  const node = new NodeProc({ port: await freePort(), chainUrl: w.chain.url, odynUrl: odyn.url, kmsAppId: w.kmsAppId });
  const { wallet, teePubkey } = odyn.identity;
  w.chain.addInstance({ appId: w.kmsAppId, wallet, teePubkey, url: node.url });
  // The world closes only what it has made itself.
  const close = w.close.bind(w);
  w.close = async () => {
    await node.stop();
    await odyn.down();
    await close();
  };
  await node.start();
  await node.waitAvailable(WAIT_MS);
  return { node, target: { url: node.url, wallet, teePubkey } };
}

/** A case with such a cluster: fn({ w, peer, app: client of the first node, other: of the second, second }). */
const cluster = (fn) => joined(async (w) => {
  const [peer] = w.peers;
  const second = await addOurs(w);
  await w.seen(peer);
  const app = w.app();
  const other = new AppClient({ target: second.target, identity: app.identity, appId: app.appId });
  await until(async () => (await other.derive('p')).status === 200, 'the second node to know the application', WAIT_MS);
  await fn({ w, peer, app, other, second });
  eq(peer.rejected, [], 'every request of ours is well formed');
}, { timeout: 90 });

/** A write on the peer, sent to the first node only. */
async function writeOnPeer(w, peer, appId, key, value, ttl_ms = 0) {
  const record = peer.record(appId, key, value ?? '', {
    tombstone: value === null, ttl_ms, version: { ...peer.store.ns(appId).get(key)?.version, [peer.wallet]: Date.now() },
  });
  peer.applyData({ [appId]: [record] });
  eq(status(await peer.delta(w.target, { [appId]: [record] }), 200).data.merged, 1);
}

const text = async (client, key) => (await client.value(key))?.toString() ?? null;
const eventually = (client, key, value, where) => until(async () => (await text(client, key)) === value, `${key} on ${where}`, WAIT_MS);
const onPeer = (peer, app, key, value) => until(() => (peer.value(app.appId, key)?.toString() ?? null) === value, `${key} on the peer`, WAIT_MS);

export const cases = {
  'cluster with the peer: writes on each of ours reach it and each other': cluster(async ({ peer, app, other }) => {
    for (const [key, client] of [['one', app], ['two', other]]) {
      status(await client.put(key, 'first'), 200);
      await onPeer(peer, app, key, 'first');
      status(await client.put(key, 'second'), 200);
      await onPeer(peer, app, key, 'second');
      await eventually(app, key, 'second', 'the first node');
      await eventually(other, key, 'second', 'the second node');
    }
  }),
  'cluster with the peer: its writes to one of ours reach both': cluster(async ({ w, peer, app, other }) => {
    for (const value of ['first', 'second']) {
      await writeOnPeer(w, peer, app.appId, 'theirs', value);
      eq(await text(app, 'theirs'), value);
      await eventually(other, 'theirs', value, 'the second node');
    }
    status(await other.put('theirs', 'ours'), 200);
    await onPeer(peer, app, 'theirs', 'ours');
    await eventually(app, 'theirs', 'ours', 'the first node');
  }),
  'cluster with the peer: deletes travel in both directions': cluster(async ({ w, peer, app, other }) => {
    status(await app.put('mine', 'value'), 200);
    await writeOnPeer(w, peer, app.appId, 'theirs', 'value');
    for (const key of ['mine', 'theirs']) await eventually(other, key, 'value', 'the second node');
    await onPeer(peer, app, 'mine', 'value');
    status(await other.del('mine'), 200);
    await onPeer(peer, app, 'mine', null);
    ok(peer.store.ns(app.appId).get('mine').tombstone);
    await writeOnPeer(w, peer, app.appId, 'theirs', null);
    for (const key of ['mine', 'theirs']) {
      await eventually(app, key, null, 'the first node');
      await eventually(other, key, null, 'the second node');
    }
  }),
  'cluster with the peer: a TTL ends a record everywhere': cluster(async ({ w, peer, app, other }) => {
    const put = status(await other.put('mine', 'value', { ttl_ms: TTL_MS }), 200);
    await writeOnPeer(w, peer, app.appId, 'theirs', 'value', TTL_MS);
    await until(() => peer.store.ns(app.appId).get('mine'), 'the record on the peer', WAIT_MS);
    const got = peer.store.ns(app.appId).get('mine');
    eq([got.ttl_ms, got.updated_at_ms], [TTL_MS, put.data.updated_at_ms]);
    status(await app.put('marker', 'value'), 200);
    await eventually(other, 'marker', 'value', 'the second node');
    for (const key of ['mine', 'theirs']) {
      await eventually(app, key, null, 'the first node');
      await eventually(other, key, null, 'the second node');
      await onPeer(peer, app, key, null);
    }
    for (const client of [app, other]) eq((await client.list()).data.keys, ['marker']);
  }),
  'cluster with the peer: ours get its records when all of them restart': cluster(async ({ w, peer, app, other, second }) => {
    status(await app.put('mine', 'value'), 200);
    status(await app.put('gone', 'value'), 200);
    status(await app.del('gone'), 200);
    await writeOnPeer(w, peer, app.appId, 'theirs', 'value');
    await onPeer(peer, app, 'mine', 'value');
    await until(() => peer.store.ns(app.appId).get('gone')?.tombstone, 'the tombstone on the peer', WAIT_MS);
    await Promise.all([w.node.stop(), second.node.stop()]);
    w.node.expectExit = second.node.expectExit = true;
    // What the peer takes meanwhile, nobody pushes to ours.
    peer.applyData({ [app.appId]: [peer.record(app.appId, 'meanwhile', 'value')] });
    await w.node.start();
    await w.node.waitAvailable(60000);
    for (const key of ['mine', 'theirs', 'meanwhile']) eq(await text(app, key), 'value', `${key} at the first moment`);
    eq(await text(app, 'gone'), null);
    await second.node.start();
    await second.node.waitAvailable(60000);
    for (const key of ['mine', 'theirs', 'meanwhile']) eq(await text(other, key), 'value', `${key} at the first moment`);
    eq(await text(other, 'gone'), null);
  }),
};
