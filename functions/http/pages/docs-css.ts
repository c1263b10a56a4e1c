/** Style of the reference page, over the palette of the shell. */
export const DOCS_CSS = `
.page{display:grid;grid-template-columns:17rem minmax(0,1fr);max-width:76rem;margin:0 auto}
.side{position:sticky;top:0;align-self:start;height:100vh;overflow-y:auto;padding:1.6rem 1.2rem 2rem 1.4rem;font-size:.9rem;
border-right:1px solid var(--line)}
.side ul{list-style:none;margin:0;padding:0}
.side>ul>li{margin:.9rem 0}
.side ul ul{margin:.3rem 0 0 .1rem;padding-left:.8rem;border-left:1px solid var(--line)}
.side ul ul li{margin:.25rem 0;line-height:1.35}
.side a{text-decoration:none;font-weight:600}.side ul ul a{font-weight:400}.side a:hover{text-decoration:underline}
.brand{margin:0 0 1.2rem;font-size:1.05rem}
main{padding:1.8rem 2.2rem 4rem;min-width:0}
section{margin-bottom:3rem;scroll-margin-top:1rem}
h1{font-family:ui-serif,Charter,Georgia,serif;font-weight:600;font-size:2.3rem;letter-spacing:-.02em;margin-bottom:1rem}
h2{font-size:1.5rem;letter-spacing:-.01em;margin-bottom:1rem}
p{max-width:46rem;margin:.6rem 0}
.route,.schema{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.3rem 1.5rem;margin-bottom:1.3rem;
scroll-margin-top:1rem;box-shadow:var(--shadow)}
.route h3{font-size:1.12rem}
.route h4{margin:1.2rem 0 .3rem;font-size:.76rem;font-weight:650;letter-spacing:.08em;text-transform:uppercase;color:var(--soft)}
.route h4 .soft{text-transform:none;letter-spacing:0;font-weight:400}
.address{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;overflow-wrap:anywhere}
.method{font:650 .74rem/1 ui-monospace,Menlo,Consolas,monospace;padding:.32rem .5rem;border-radius:6px;background:var(--accent-soft);color:var(--accent)}
.method.post{background:#e2e4f6;color:#3d449a}.method.put,.method.patch{background:#f6e3d3;color:#8a420f}.method.delete{background:#f6dcdc;color:#9b2525}
@media(prefers-color-scheme:dark){.method.post{background:#272b4a;color:#a9b0f2}.method.put,.method.patch{background:#41291a;color:#eba66f}
.method.delete{background:#472223;color:#f29a9a}}
.fields{display:grid;grid-template-columns:minmax(8rem,max-content) minmax(0,1fr);gap:.3rem 1.2rem;margin:.4rem 0;font-size:.93rem}
.fields dt{overflow-wrap:anywhere}.fields dd{margin:0}
code{background:var(--code);border-radius:4px;padding:.08em .3em}
pre{background:var(--code);border-radius:9px;padding:.9rem 1.1rem;overflow-x:auto;margin:.4rem 0 0}pre code{padding:0;background:none}
.schema{padding:.7rem 1.2rem;margin-bottom:.6rem}.schema summary{cursor:pointer}.schema[open] summary{margin-bottom:.6rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{text-align:left;padding:.45rem 1rem .45rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-size:.78rem;color:var(--soft)}
@media(max-width:56rem){.page{display:block}.side{position:static;height:auto;border-right:0;border-bottom:1px solid var(--line)}
.side ul ul{display:none}.side>ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}.side>ul>li{margin:0}main{padding:1.4rem}
.fields{grid-template-columns:1fr}.fields dd{margin:0 0 .5rem .8rem}}
`;
