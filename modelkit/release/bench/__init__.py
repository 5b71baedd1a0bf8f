"""How fast a model answers: loads it, times what comes, says what that shows and what it does not.

Definitions, the same for every engine (all times are the client's):

- `ttft`: from the request's start to its first token. In an open loop the start is when the request was due, not when
  it could be sent, so that waiting counts.
- `itl`: the gap between two chunks of one answer that carry text. An engine may put several tokens into a chunk; then
  a note says how many.
- `e2e`: from the same start to the stream's end.
- `tokens_per_second`: tokens of measured answers, as the engine counted them, by the time from the first measured
  request to the last measured answer.
- `requests_per_second` and `goodput`: answers, and answers within every limit, by the same time.
- `errors`: the part of measured requests that failed. What failed has no times.

Percentiles interpolate between the two nearest values, as vLLM's and guidellm's do. A percentile has an interval (95 %)
that assumes nothing of the distribution, and counts against a limit only when there are enough samples for one.
"""

from modelkit.release.bench.limits import Held, Limit
from modelkit.release.bench.loads import Closed, Load, Open
from modelkit.release.bench.measure import measure, sweep
from modelkit.release.bench.result import BenchResult, Sample
from modelkit.release.bench.workload import Prompts, Synthetic, Workload

__all__ = ["BenchResult", "Closed", "Held", "Limit", "Load", "Open", "Prompts", "Sample", "Synthetic", "Workload",
           "measure", "sweep"]
