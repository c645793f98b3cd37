/** ICE servers of `Link` headers (RFC 9725, section 4.6). */
export function iceServers(links) {
  return [...(links ?? "").matchAll(/<((?:stuns?|turns?):[^>]+)>([^<]*)/g)]
    .filter(([, , parameters]) => parameters.includes('rel="ice-server"'))
    .map(([, urls, parameters]) => ({
      urls,
      username: parameter(parameters, "username"),
      credential: parameter(parameters, "credential"),
    }));
}

function parameter(parameters, name) {
  return parameters.match(new RegExp(`; *${name}="([^"]*)"`))?.[1];
}

/** A fragment (RFC 8840) of a description's credentials and the given candidates. */
export function fragment(sdp, candidates, complete) {
  return [
    line(sdp, "a=ice-ufrag:"),
    line(sdp, "a=ice-pwd:"),
    line(sdp, "m="),
    line(sdp, "a=mid:"),
    ...candidates.map(({ candidate }) => `a=${candidate}`),
    ...(complete ? ["a=end-of-candidates"] : []),
    "",
  ].join("\r\n");
}

/** A description with the credentials and candidates of a fragment in place of its own. */
export function renewed(sdp, fragment) {
  const credentials = [line(fragment, "a=ice-ufrag:"), line(fragment, "a=ice-pwd:")];
  const candidates = fragment.split("\r\n").filter((each) => /^a=(candidate|end-of-candidates)/.test(each));
  return sdp
    .split("\r\n")
    .filter((each) => !/^a=(candidate|end-of-candidates|ice-pwd)/.test(each))
    .flatMap((each, index, lines) => {
      if (!each.startsWith("a=ice-ufrag:")) return [each];
      const first = lines.findIndex((other) => other.startsWith("a=ice-ufrag:")) === index;
      return [...credentials, ...(first ? candidates : [])];
    })
    .join("\r\n");
}

function line(text, start) {
  return text.split("\r\n").find((each) => each.startsWith(start));
}
