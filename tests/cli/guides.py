"""The recipes of the practice guides, and the ablation, each from one end to the other with a tiny budget. Arguments: names of recipes."""
import json, os, pathlib, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parents[2]
retort = pathlib.Path(os.environ.get("RETORT_BIN", root / "build/bin")) / "retort"
if not retort.exists() or not (root / "assets/teacher/config.json").exists():
    sys.exit(77)
small = {"medical": ["--tokens=4096"], "compression": ["--tokens=3072"], "r1": ["--tokens=20480", "--task_tokens=4096"],
         "reasoning": ["--tokens=2048", "--questions=40", "--rounds=2"], "local": ["--tokens=4096"]}
for name in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as folder:
        if name == "ablation":
            command = ["recipes/ablation.yaml", "--tokens=8192", "--batch_tokens=1024", "--limit=300", "--pairs=8"]
        else:
            command = [f"recipes/guides/{name}.yaml", "--pairs=8", *small[name]]
        result = subprocess.run([str(retort), "run", *command, f"--run={folder}/run"], cwd=root, capture_output=True, text=True, timeout=1500)
        assert result.returncode == 0, f"{name}: {result.returncode}\n{result.stderr[-3000:]}"
        report = json.loads(pathlib.Path(folder, "run/report.json").read_text())
        rows = report["table"]["rows"]
        assert all(row["values"].get("bleu4") is not None for row in rows), rows
        if name == "ablation":
            page = pathlib.Path(folder, "run/ablation.md").read_text()
            assert all(row["name"] in page for row in rows), page
        print(f"{name}: {len(rows)} rows")
