"use strict";
// The status page. Every value goes into the page as text, never as markup: URLs and names come from the chain and from
// other nodes.

const KEPT = 150; // values of a chart: five minutes
const history = { requests: [], refused: [], p50: [], p99: [] };
let last = null; // the facts before
let lastContact = null; // Date of the last facts

const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function duration(ms) {
  if (ms === null || ms === undefined) return "never";
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (bytes >= 1024 && at < units.length - 1) { bytes /= 1024; at += 1; }
  return `${at === 0 ? bytes : bytes.toFixed(1)} ${units[at]}`;
}

const count = (n) => Number(n).toLocaleString("en");
const seconds = (s) => (s < 1 ? `${(s * 1000).toFixed(1)} ms` : `${s.toFixed(2)} s`);
const yesNo = (value, good, bad) => element("span", value ? good : bad, value ? "good" : "bad");

// A part of a limit, as a bar and in words.
function part(used, limit, show) {
  const box = element("span");
  const meter = element("meter");
  meter.max = limit; meter.high = 0.85 * limit; meter.value = used;
  meter.textContent = `${used} of ${limit}`;
  meter.setAttribute("aria-label", `${show(used)} of ${show(limit)}`);
  box.append(meter, ` ${show(used)} of ${show(limit)}`);
  return box;
}

// Fills a list of names and values. @param rows [name, text or element][]; those with undefined are left out
function fill(id, rows) {
  const list = byId(id);
  list.replaceChildren();
  for (const [name, value] of rows) {
    if (value === undefined || value === null) continue;
    const dd = element("dd");
    dd.append(value);
    list.append(element("dt", name), dd);
  }
}

// A table, or words where there are no rows. @param head names, those of numbers with # before them
function table(id, caption, head, rows, empty) {
  const box = byId(id);
  const scrolled = box.firstChild ? box.firstChild.scrollLeft : 0;
  box.replaceChildren();
  if (rows.length === 0) { if (empty) box.append(element("p", empty, "quiet")); return; }
  const scroll = element("div", undefined, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", caption);
  const made = element("table");
  made.append(element("caption", caption));
  const isNumber = head.map((name) => name.startsWith("#"));
  const top = element("tr");
  head.forEach((name, i) => {
    const th = element("th", name.replace("#", ""), isNumber[i] ? "number" : "");
    th.scope = "col";
    top.append(th);
  });
  const thead = element("thead");
  thead.append(top);
  const tbody = element("tbody");
  for (const row of rows) {
    const tr = element("tr");
    row.forEach((value, i) => {
      const td = element("td", undefined, isNumber[i] ? "number" : "");
      td.append(value === undefined || value === null ? "–" : value);
      tr.append(td);
    });
    tbody.append(tr);
  }
  made.append(thead, tbody);
  scroll.append(made);
  box.append(scroll);
  scroll.scrollLeft = scrolled;
}

// ---- rates ------------------------------------------------------------------------------------------

const sum = (object) => Object.values(object).reduce((a, b) => a + b, 0);

// The duration below which a part of the new requests were. @returns seconds, 0 where there are none
function quantile(bounds, counts, q) {
  const all = counts.reduce((a, b) => a + b, 0);
  let seen = 0;
  for (let i = 0; i < counts.length && all > 0; i += 1) {
    seen += counts[i];
    if (seen >= q * all) return bounds[Math.min(i, bounds.length - 1)];
  }
  return 0;
}

function push(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}

function measure(facts) {
  // A node that restarted counts from 0 again.
  if (!last || facts.up_ms < last.up_ms) { last = facts; return; }
  const passed = (facts.up_ms - last.up_ms) / 1000;
  if (passed <= 0) return;
  const { bounds_s: bounds, counts } = facts.requests.durations;
  const fresh = counts.map((n, i) => n - last.requests.durations.counts[i]);
  push(history.requests, (sum(facts.requests.by_route) - sum(last.requests.by_route)) / passed);
  push(history.refused, (sum(facts.requests.by_code) - sum(last.requests.by_code)) / passed);
  push(history.p50, quantile(bounds, fresh, 0.5));
  push(history.p99, quantile(bounds, fresh, 0.99));
  last = facts;
}

// ---- parts of the page ------------------------------------------------------------------------------

function headline(facts) {
  const node = facts.status.node;
  const ready = node.service_available && !facts.draining;
  const words = facts.draining ? "Stopping after the requests that run"
    : ready ? "Serves applications" : `Serves no application: ${node.service_unavailable_reason || "unknown"}`;
  const line = byId("headline");
  const text = `${ready ? "✓" : "✗"} ${words}`;
  if (line.textContent !== text) { // a reader with a screen reader hears changes only
    line.replaceChildren(element("span", ready ? "✓" : "✗", `mark ${ready ? "good" : "bad"}`), ` ${words}`);
  }
  document.title = `${ready ? "✓" : "✗"} nova-kms`;
}

function showNode(facts) {
  const node = facts.status.node;
  fill("node", [
    ["Wallet", element("code", node.tee_wallet || "not known yet")], ["URL", node.node_url],
    ["Registered", yesNo(node.is_operator, "yes", "no")], ["Version", facts.version],
    ["Runs in", facts.in_enclave ? `an enclave (${facts.tee})` : `development (${facts.tee})`], ["Up", duration(facts.up_ms)],
    ["Records", yesNo(node.store_complete, node.store_alone ? "complete, serving alone" : "complete", "not complete")],
  ]);
}

function showSecret(facts) {
  const { state, synced_from: from } = facts.status.node.master_secret;
  const origin = { uninitialized: "none yet", generated: "made by this node", synced: "from a member",
    recovered: "restored by custodians" }[state] || state;
  const custodians = facts.custodians;
  fill("secret", [
    ["State", element("span", state, state === "uninitialized" ? "bad" : "good")], ["Origin", from ? `${origin}, ${from}` : origin],
    ["Known to operator", facts.status.node.operator_secret ? element("span", "yes", "warn") : undefined],
    ["Custodians", custodians ? `${custodians.threshold} of ${custodians.list.length} restore it`
      : element("span", "none: the loss of all nodes is final", "warn")],
    ["Waits for", custodians && custodians.waiting
      ? element("span", `custodians: ${custodians.waiting.have} of ${custodians.waiting.need}`, "bad") : undefined],
  ]);
  table("custodians", "Custodians, and when each last proved its share", ["Name", "#Last proof"],
    (custodians ? custodians.list : []).map((one) => [one.name,
      one.checked_at_ms === null ? element("span", "never", "warn") : `${duration(facts.now_ms - one.checked_at_ms)} ago`]));
}

function showChain(facts) {
  const chain = facts.status.chain;
  fill("chain", [
    ["Kind", facts.chain_kind], ["Chain id", chain.chain_id === undefined ? undefined : String(chain.chain_id)],
    ["Newest block", facts.chain.head_age_ms === null ? "not read yet" : `${duration(facts.chain.head_age_ms)} old`],
    ["View in use", facts.chain.view_age_ms === null ? "none" : `${duration(facts.chain.view_age_ms)} old`],
    ["Clock", facts.status.clock.writes_refused ? element("span", facts.status.clock.writes_refused, "bad") : yesNo(true, "right", "")],
  ]);
}

function showSnapshot(facts) {
  const snapshot = facts.status.snapshot;
  const anchor = snapshot.anchor;
  fill("snapshot", [
    ["State", element("span", snapshot.state, snapshot.state === "off" || snapshot.state === "not restored" ? "warn" : "")],
    ["Last saved", snapshot.saved_at_ms ? `${duration(facts.now_ms - snapshot.saved_at_ms)} ago` : undefined],
    ["Unsaved since", snapshot.unsaved_s ? duration(snapshot.unsaved_s * 1000) : undefined],
    ["Failures", snapshot.failures ? element("span", count(snapshot.failures), "bad") : undefined],
    ["Last anchor", anchor ? (anchor.anchored_at_ms ? `${duration(facts.now_ms - anchor.anchored_at_ms)} ago` : "never") : undefined],
  ]);
}

function showAudit(facts) {
  const audit = facts.status.audit;
  fill("audit", [
    ["State", element("span", audit.state, audit.state === "failing" ? "bad" : audit.state === "off" ? "warn" : "good")],
    ["Lines", audit.lines === undefined ? undefined : count(audit.lines)],
    ["Lost lines", audit.lost_lines ? element("span", count(audit.lost_lines), "bad") : undefined],
    ["Last signature", audit.signed_at_ms ? `${duration(facts.now_ms - audit.signed_at_ms)} ago` : undefined],
  ]);
}

function showMembers(facts) {
  const marks = { self: "good", ok: "good", unknown: "warn", unreachable: "bad", banned: "bad" };
  const sequence = facts.status.sync.sequence;
  const members = facts.members.length;
  table("members", members === 1 ? "One member: the loss of this node is the loss of the cluster" : `${members} members of the cluster`,
    ["Wallet", "State", "#Changes behind", "#Since equal", "Bans", "URL"],
    facts.members.map((member) => [element("code", member.wallet),
      element("span", member.state === "self" ? "this node" : member.state, marks[member.state] || "unknown"),
      member.acknowledged === null ? null : count(Math.max(0, sequence - member.acknowledged)),
      member.repair ? duration(member.repair.lag_s * 1000) : null,
      member.bans.map((ban) => `${ban.event}, ${ban.left_s} s`).join("; ") || null, member.url]), "No members are known yet.");
}

function showTraffic() {
  const now = (list) => list[list.length - 1] || 0;
  byId("traffic").replaceChildren(
    lineChart("Requests a second", history.requests, now(history.requests).toFixed(1)),
    lineChart("Refused a second", history.refused, now(history.refused).toFixed(1)),
    lineChart("Median duration", history.p50, seconds(now(history.p50))),
    lineChart("99th percentile", history.p99, seconds(now(history.p99))));
}

function showStore(facts) {
  const { store, limits } = facts;
  const data = facts.status.data_store;
  fill("store", [
    ["Records", count(data.total_keys)], ["Ciphertext", size(data.total_bytes)],
    ["Memory", part(store.total_bytes, limits.store_bytes, size)],
    ["Applications", part(data.namespaces, limits.namespaces, count)],
    ["Deleted, remembered", count(store.tombstones)], ["Evicted, remembered", count(store.stubs)],
    ["Evictions", store.evictions ? element("span", count(store.evictions), "warn") : "0"],
  ]);
  const box = byId("largest");
  box.replaceChildren();
  if (store.largest.length > 1) {
    box.append(element("p", `The ${store.largest.length} largest applications: ${size(store.largest[0])} to ${
      size(store.largest[store.largest.length - 1])}`, "quiet"), barChart("Sizes of the largest applications", store.largest));
  }
}

function showLoad(facts) {
  fill("load", [
    ["Requests now", count(facts.running)], ["Connections", part(facts.connections, facts.limits.connections, count)],
    ["Sessions", part(facts.sessions.applications + facts.sessions.members, facts.limits.sessions, count)],
    ["Guarded memory", part(facts.guarded.used, facts.guarded.size, size)],
  ]);
}

function showPolicy(facts) {
  const policy = facts.status.policy;
  const error = policy.last_error;
  fill("policy", [
    ["Hash", element("code", policy.hash)], ["In force since", policy.since_ms ? new Date(policy.since_ms).toISOString() : undefined],
    ["Suspended", policy.suspended.length > 0 ? element("span", count(policy.suspended.length) + (policy.suspended.length === 1
      ? " rule: what it refuses goes on" : " rules: what they refuse goes on"), "bad") : undefined],
    ["Last reload", error ? element("span", `refused: ${error.first}`, "bad") : element("span", "taken", "good")],
  ]);
  const leftOf = new Map(policy.suspended.map((one) => [one.rule, one.left_s]));
  const isSuspended = (rule) => (leftOf.has(rule.name) ? 1 : 0);
  const asked = (rule) => rule.passed + rule.refused + rule.failed + rule.let_through;
  const rules = (policy.rules || []).filter((rule) => asked(rule) > 0 || isSuspended(rule))
    .sort((a, b) => isSuspended(b) - isSuspended(a) || asked(b) - asked(a));
  table("rules", "Rules that were asked or are suspended", ["Rule", "#Passed", "#Refused", "#Failed", "#Let through", "Suspended"],
    rules.map((rule) => [element("code", rule.name), count(rule.passed), count(rule.refused), count(rule.failed),
      count(rule.let_through), isSuspended(rule) ? element("span", `${duration(leftOf.get(rule.name) * 1000)} left`, "bad") : ""]),
    "No rule was asked yet.");
}

function show(facts) {
  measure(facts);
  headline(facts);
  for (const draw of [showNode, showSecret, showChain, showSnapshot, showAudit, showMembers, showTraffic, showStore, showLoad, showPolicy]) {
    draw(facts);
  }
}

// ---- contact with the node --------------------------------------------------------------------------

const PATIENCE_MS = 7000; // three events have not come

function contact() {
  const stale = lastContact !== null && Date.now() - lastContact.getTime() > PATIENCE_MS;
  document.body.classList.toggle("stale", stale);
  if (lastContact === null) return;
  byId("contact").textContent = stale
    ? `No contact with the node since ${lastContact.toLocaleTimeString()}: these are its last values.`
    : `Last values: ${lastContact.toLocaleTimeString()}`;
  byId("contact").className = stale ? "bad" : "quiet";
  if (stale) document.title = "? nova-kms";
}

const source = new EventSource("/ui/events");
source.onmessage = (event) => {
  lastContact = new Date();
  show(JSON.parse(event.data));
  contact();
};
setInterval(contact, 1000);
