/** Style of the home page, over the palette of the shell. */
export const HOME_CSS = `
body{display:flex;flex-direction:column;min-height:100vh}
.top,main,footer{width:min(100% - 2.5rem,82rem);margin-inline:auto}
.top{display:flex;flex-wrap:wrap;gap:.5rem 2rem;align-items:center;justify-content:space-between;padding:1.4rem 0}
.brand{display:flex;gap:.55rem;align-items:center;margin:0;font-weight:650;letter-spacing:-.01em;font-size:1.1rem}
.mark{width:1.6rem;color:var(--accent)}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem}
nav a{text-decoration:none;font-size:.95rem}nav a:hover{text-decoration:underline}
main{flex:1}
.intro{padding:2.2rem 0 2rem;max-width:44rem}
.intro h1{font-family:ui-serif,Charter,Georgia,serif;font-weight:600;font-size:clamp(1.9rem,4.5vw,2.9rem);letter-spacing:-.02em}
.intro p{margin:.8rem 0 0;font-size:1.06rem}
.chips{display:flex;flex-wrap:wrap;gap:.5rem}
.chip{background:var(--accent-soft);color:var(--accent);border-radius:99px;padding:.15rem .8rem;font-size:.86rem}
.people{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1.4rem;align-items:start}
.person,.step{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.4rem 1.5rem;box-shadow:var(--shadow)}
.person>header{display:flex;gap:.9rem;align-items:center}
.person h2{font-size:1.15rem;letter-spacing:-.01em}
.id{margin:.1rem 0 0;font-size:.84rem}
.monogram{flex:none;width:2.7rem;height:2.7rem;border-radius:50%;display:grid;place-items:center;font-weight:650;
background:var(--accent-soft);color:var(--accent)}
.tint-1{background:#f6e3d3;color:#8a420f}.tint-2{background:#e2e4f6;color:#3d449a}.tint-3{background:#f3dfe8;color:#8c2c5a}
@media(prefers-color-scheme:dark){.tint-1{background:#41291a;color:#eba66f}.tint-2{background:#272b4a;color:#a9b0f2}
.tint-3{background:#43232f;color:#ee9dbd}}
.person h3{margin:1.4rem 0 .5rem;font-size:.74rem;font-weight:650;letter-spacing:.09em;text-transform:uppercase;color:var(--soft)}
ol{list-style:none;margin:0;padding:0}
.history li{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;padding:.28rem 0 .28rem 1rem;position:relative;
font-size:.93rem}
.history li::before{content:"";position:absolute;left:0;top:.82em;width:.4rem;height:.4rem;border-radius:50%;background:var(--line)}
.history li:first-child::before{background:var(--accent)}
.how{font-size:.84rem;white-space:nowrap}
.next{counter-reset:place}
.next li{counter-increment:place;position:relative;padding:.75rem 0 .7rem 2.1rem;border-top:1px solid var(--line)}
.next li:first-child{border-top:0;padding-top:.3rem}
.next li::before{content:counter(place);position:absolute;left:0;font:600 1.15rem/1.35 ui-serif,Charter,Georgia,serif;color:var(--accent)}
.line{display:flex;flex-wrap:wrap;gap:0 .7rem;align-items:baseline}
.next .what{font-weight:600}
.cuisine{font-size:.86rem}
.reason{margin:.2rem 0 0;font-size:.9rem;color:var(--warm)}
.figures{display:flex;gap:.9rem;align-items:center;margin-top:.45rem;font-size:.78rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.figures svg{flex:1;min-width:3rem;height:4px}
.rail{fill:var(--line)}.fill{fill:var(--accent)}
.steps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1.4rem}
.step h2{font-size:1.15rem}.step p{margin:.6rem 0}
pre{background:var(--code);border-radius:9px;padding:.8rem 1rem;overflow-x:auto;margin:.6rem 0 0}
footer{padding:2rem 0 2.6rem;font-size:.86rem}footer p{max-width:46rem;margin:0}
`;
