"""Runs scenarios: `run.py TIER [WORD ..]`. Tiers: fast (Envoy, HAProxy, Portkey), slow (LiteLLM), all."""

import importlib
import sys
import time
import traceback

TIERS = {"fast": ["envoy", "haproxy", "portkey"], "slow": ["litellm_proxy"]}
TIERS["all"] = TIERS["fast"] + TIERS["slow"]


def main() -> int:
    tier, *words = sys.argv[1:] or ["fast"]
    if tier not in TIERS:
        print(f"there are the tiers {', '.join(TIERS)}; further words choose scenarios", file=sys.stderr)
        return 2
    passed, failed = 0, []
    for module in TIERS[tier]:
        for scenario in importlib.import_module(module).SCENARIOS:
            name = f"{module}: {scenario.__name__}"
            if not all(word in name for word in words):
                continue
            began = time.monotonic()
            try:
                scenario()
                passed += 1
                print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception:
                failed.append(name)
                print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed")
    # To have run nothing is no success.
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
