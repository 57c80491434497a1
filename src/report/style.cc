#include "report/style.h"

namespace retort {

// Colours are variables, so that dark mode changes them in one place, charts included. The series colours
// were chosen to stay apart for readers with red-green blindness.
const char* const kReportStyle = R"css(
:root{color-scheme:light dark;--page:#fbfbf9;--panel:#fff;--ink:#1d2327;--soft:#4a545c;--faint:#7b868e;--rule:#e3e5e2;
--accent:#1f6b63;--tint:#e4f1ee;--good:#1f7a4d;--c0:#2767b0;--c1:#d0671c;--c2:#2c8c66;--c3:#8a4fb3;--c4:#c23a55;--c5:#1793a5;
--c6:#9c7a12;--c7:#667079}
@media (prefers-color-scheme:dark){:root{--page:#15181a;--panel:#1c2023;--ink:#e6e8e7;--soft:#b4bcc0;--faint:#869097;
--rule:#30363a;--accent:#6cc5b8;--tint:#1d3a37;--good:#62c08f;--c0:#6ba6ea;--c1:#f0995a;--c2:#63c49c;--c3:#bd8ee6;--c4:#f0788f;
--c5:#4fc4d6;--c6:#d3b04c;--c7:#a0a9b0}}
*{box-sizing:border-box}
html{background:var(--page);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1160px;padding:44px 28px 64px;font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","Noto Sans","PingFang SC","Hiragino Sans GB","Microsoft YaHei","Noto Sans CJK SC","Source Han Sans SC",
"WenQuanYi Micro Hei",sans-serif}
header{padding-bottom:22px;border-bottom:1px solid var(--rule)}
h1{font-size:30px;line-height:1.25;font-weight:650;letter-spacing:-.01em;margin:0}
h2{font-size:19px;font-weight:650;margin:42px 0 14px}
p{margin:0 0 10px}
.date{color:var(--faint);font-size:14px;margin:6px 0 0}
.summary{font-size:18px;line-height:1.55;color:var(--soft);max-width:76ch;margin:16px 0 0}
.faint,small{color:var(--faint)}
small{font-size:12.5px;line-height:1.4}
.aside{color:var(--faint);font-size:13.5px;margin:8px 2px 0}
.panel{background:var(--panel);border:1px solid var(--rule);border-radius:10px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:10px 14px;text-align:right;vertical-align:top;border-top:1px solid var(--rule);white-space:nowrap}
thead th{border-top:0;font-size:13.5px;font-weight:650;color:var(--soft);vertical-align:bottom}
thead small{display:block;font-weight:400}
th:first-child,td.text{text-align:left;white-space:normal}
th:last-child,td:last-child{padding-right:20px}
tbody th{font-weight:650;min-width:9em}
td small,th small{display:block;font-weight:400}
td b{font-weight:650;color:var(--accent);background:var(--tint);border-radius:5px;padding:2px 6px;margin:-2px -6px}
.clear-mark{color:var(--good);font-weight:650}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}
.heat{align-self:start}
.chart{margin:0;padding:16px 18px 10px;background:var(--panel);border:1px solid var(--rule);border-radius:10px}
.chart svg{display:block;width:100%;height:auto}
figcaption{font-weight:650;font-size:15px;overflow-wrap:anywhere}
figcaption .faint{font-weight:400;font-size:13px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:4px 0 8px;padding:0;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:16px;height:0;border-top:3px solid var(--s);border-radius:2px;margin-right:7px;vertical-align:4px}
.legend .again i{border-top-style:dashed}
.s0{--s:var(--c0)}.s1{--s:var(--c1)}.s2{--s:var(--c2)}.s3{--s:var(--c3)}
.s4{--s:var(--c4)}.s5{--s:var(--c5)}.s6{--s:var(--c6)}.s7{--s:var(--c7)}
.grid{stroke:var(--rule)}.axis{stroke:var(--faint)}
.tick{fill:var(--faint);font-size:12px;font-variant-numeric:tabular-nums}
.line{fill:none;stroke:var(--s);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.again .line{stroke-dasharray:5 4}
.dot{fill:var(--s);stroke:var(--panel);stroke-width:1}.quiet{opacity:0}.quiet:hover{opacity:1}
.cell{fill:var(--c0)}.on{fill:var(--panel);font-size:12px}.off{fill:var(--soft);font-size:12px}.on,.off{pointer-events:none}
.interval{vertical-align:middle}.bar{stroke-width:6;stroke-linecap:round}.clear .bar{stroke:var(--good)}.unclear .bar{stroke:var(--c7)}
.sample{margin:0 0 14px;overflow:hidden}
.sample>div{display:flex;flex-wrap:wrap;gap:1px;background:var(--rule)}
.sample>div+div{border-top:1px solid var(--rule)}
.sample section{flex:1 1 230px;background:var(--panel);padding:12px 16px}
.sample h3{margin:0 0 3px;font-size:12.5px;font-weight:650;color:var(--faint)}
.sample .given h3{color:var(--accent)}
.sample p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:15px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 24px;margin:0;padding:14px 18px;font-size:14.5px}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
details{padding:12px 18px}summary{cursor:pointer;color:var(--soft)}
pre{margin:12px 0 4px;overflow-x:auto;font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono",
"Noto Sans Mono CJK SC","PingFang SC","Microsoft YaHei",monospace}
.notes{margin:0;padding-left:22px}.notes li{margin-bottom:6px}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--rule);color:var(--faint);font-size:13px}
@media print{body{max-width:none;padding:0}.chart,.sample,tr{break-inside:avoid}}
)css";

}  // namespace retort
