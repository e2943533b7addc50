/** Which URLs of a registry are called: not those that lead into the caller's own network. */

const V4 = [ // special-purpose blocks (RFC 6890 and its registry): first address, length of the prefix
  ["0.0.0.0", 8], ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16], ["172.16.0.0", 12], ["192.0.0.0", 24],
  ["192.0.2.0", 24], ["192.168.0.0", 16], ["198.18.0.0", 15], ["198.51.100.0", 24], ["203.0.113.0", 24], ["224.0.0.0", 3],
].map(([first, length]) => [number(first), length]);
const V6_GLOBAL = /^2[0-9a-f]{3}:|^3[0-9a-f]{3}:/; // 2000::/3
const V6_SPECIAL = /^2001:(0?:|[0-9a-f]{1,2}:|1[0-9a-f]{2}:|db8:)|^2002:|^3fff:/; // 2001::/23, documentation, 6to4

function number(v4) {
  return v4.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/**
 * Whether a URL is https and names neither this machine nor an address that is private or otherwise special. Names are not looked up:
 * fetch does not show what they lead to.
 * @param {string} text a URL that baseUrl accepts, which has an address in its one spelling
 */
export function isPublicUrl(text) {
  const { protocol, hostname } = new URL(text);
  const host = hostname.replace(/\.$/, "");
  if (protocol !== "https:" || /(^|\.)localhost$/.test(host)) return false;
  if (host.startsWith("[")) return V6_GLOBAL.test(host.slice(1)) && !V6_SPECIAL.test(host.slice(1));
  if (!/^[0-9]+(\.[0-9]+){3}$/.test(host)) return true;
  return !V4.some(([first, length]) => Math.floor(number(host) / 2 ** (32 - length)) === first / 2 ** (32 - length));
}
