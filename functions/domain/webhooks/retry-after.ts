/** The Retry-After header (RFC 9110, section 10.2.3): seconds, or an HTTP-date in any of its three forms (section 5.6.7). */

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTH = `(?<month>${MONTHS.join("|")})`;
const TIME = "(?<hour>[01]\\d|2[0-3]):(?<minute>[0-5]\\d):(?<second>[0-5]\\d|60)";
const FORMS = [
  `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\\d{2}) ${MONTH} (?<year>\\d{4}) ${TIME} GMT`, // IMF-fixdate
  `(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\\d{2})-${MONTH}-(?<year>\\d{2}) ${TIME} GMT`, // RFC 850
  `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${MONTH} (?<day>[ \\d]\\d) ${TIME} (?<year>\\d{4})`, // asctime
].map((form) => new RegExp(`^${form}$`));

/** Seconds to wait from `nowMs` on, 0 where the date has passed; undefined where the header is missing or neither form. */
export function retryAfterSeconds(header: string | null, nowMs: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text);
  const at = parseHttpDate(text, nowMs);
  return at === undefined ? undefined : Math.max(0, Math.ceil((at - nowMs) / 1000));
}

/** Milliseconds since 1970. The two-digit year of RFC 850 is the one that is at most 50 years ahead of `nowMs`. */
export function parseHttpDate(text: string, nowMs: number): number | undefined {
  const parts = FORMS.map((form) => form.exec(text)?.groups).find((groups) => groups !== undefined);
  if (parts === undefined) return undefined;
  const part = (name: string): number => Number(parts[name]);
  const [day, month] = [part("day"), MONTHS.indexOf(parts["month"] ?? "")];
  const at = (year: number): number | undefined => {
    const midnight = new Date(Date.UTC(year, month, day));
    if (midnight.getUTCDate() !== day) return undefined; // 31 February
    return midnight.getTime() + ((part("hour") * 60 + part("minute")) * 60 + part("second")) * 1000;
  };
  if (parts["year"]?.length === 4) return at(part("year"));
  const latestYear = new Date(nowMs).getUTCFullYear() + 50;
  return at(latestYear - ((latestYear - part("year")) % 100));
}
