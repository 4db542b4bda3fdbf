// Draws a timeline. Only the order of calls and ends matters, therefore the axis has one step for
// each of them: real times would put everything of interest into a few pixels.
#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "tests/linearizability/timeline.h"

namespace raftkv::linearizability {
namespace {

constexpr int kMinStep = 22;     // pixels between two events
constexpr int kMaxLabel = 260;   // pixels of a label that are made room for
constexpr int kRow = 30;         // pixels from row to row
constexpr int kLaneGap = 10;     // between lanes
constexpr int kAxisLabel = 110;  // pixels for a label of the axis
constexpr int kAxis = 24;        // height of the axis
constexpr size_t kOpenSteps = 3;

constexpr std::string_view kStyle = R"css(
body { margin: 0; font: 14px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff; }
header { padding: 16px 20px 12px; max-width: 110ch; }
h1 { font-size: 18px; margin: 0 0 6px; }
.reason { margin: 0 0 10px; }
.legend span { display: inline-block; margin-right: 18px; }
.legend i { display: inline-block; width: 22px; height: 12px; margin-right: 6px; border-radius: 3px;
  border: 1px solid; vertical-align: -1px; }
.chart { display: grid; grid-template-columns: max-content 1fr; border-top: 1px solid #d5dae1; }
.names div, .axis span { color: #566070; font-size: 12px; white-space: nowrap; }
.names div { padding: 4px 12px 0 20px; box-sizing: border-box; border-bottom: 1px solid #eef0f3; }
.scroll { overflow-x: auto; overflow-y: hidden; border-left: 1px solid #d5dae1; }
.plot { position: relative; }
.lane { position: absolute; left: 0; right: 0; border-bottom: 1px solid #eef0f3; }
.axis span { position: absolute; top: 3px; padding-left: 4px; border-left: 1px solid #c9d0da; }
.grid { position: absolute; width: 1px; background: #f0f2f5; }
.op { position: absolute; height: 22px; box-sizing: border-box; border: 1px solid; border-radius: 4px;
  padding: 1px 6px; font-size: 12px; line-height: 18px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; cursor: default; }
.op.core { border-width: 2px; padding: 0 5px; font-weight: 600; }
.legend .plain, .op.plain { background: #e3ebf6; border-color: #8ea6c8; }
.legend .core, .op.core { background: #ffd9d4; border-color: #c8321f; }
.legend .unknown, .op.unknown { background: #f4f4f2; border-color: #8a8a84; border-style: dashed; }
.op.open { border-right: 0; border-radius: 4px 0 0 4px; }
.op:hover, .op:focus { filter: brightness(0.95); outline: 2px solid #3568b8; }
.op template { display: none; }
#tip { position: fixed; display: none; z-index: 9; max-width: 560px; padding: 8px 12px;
  background: #1c2430; color: #fff; border-radius: 6px; font-size: 13px; overflow-wrap: anywhere; }
#tip th { text-align: left; vertical-align: top; padding-right: 10px; color: #aebacb; font-weight: 400;
  white-space: nowrap; }
)css";

constexpr std::string_view kScript = R"js(
const tip = document.getElementById('tip');
function show(op, x, y) {
  tip.replaceChildren(op.querySelector('template').content.cloneNode(true));
  tip.style.display = 'block';
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + 'px';
  const below = y + 18 + tip.offsetHeight < innerHeight;
  tip.style.top = Math.max(4, below ? y + 18 : y - tip.offsetHeight - 10) + 'px';
}
for (const op of document.querySelectorAll('.op')) {
  op.addEventListener('mousemove', event => show(op, event.clientX, event.clientY));
  op.addEventListener('focus', () => {
    const box = op.getBoundingClientRect();
    show(op, box.left, box.bottom - 18);
  });
  for (const type of ['mouseleave', 'blur']) {
    op.addEventListener(type, () => { tip.style.display = 'none'; });
  }
}
const scroll = document.querySelector('.scroll');
const cores = [...document.querySelectorAll('.op.core')];
const right = Math.max(...cores.map(op => op.offsetLeft + op.offsetWidth));
if (cores.length) scroll.scrollLeft = Math.max(0, right - scroll.clientWidth + 100);
)js";

// Where an operation is drawn.
struct Bar {
  const TimelineOp* op;
  size_t begin = 0;  // in steps
  size_t end = 0;
  size_t row = 0;  // in its lane
};

struct Lane {
  std::string name;
  std::vector<Bar> bars;  // by begin
  size_t rows = 1;
  int top = 0;
  int height() const { return static_cast<int>(rows) * kRow + kLaneGap; }
};

std::string_view ClassOf(TimelineOp::Mark mark) {
  switch (mark) {
    case TimelineOp::Mark::kPlain:
      return "plain";
    case TimelineOp::Mark::kCore:
      return "core";
    case TimelineOp::Mark::kUnknown:
      return "unknown";
  }
  return "plain";
}

std::string Pixels(int64_t value) { return std::to_string(value) + "px"; }

class Drawing {
 public:
  explicit Drawing(const Timeline& timeline) : timeline_(timeline) {
    CollectTimes();
    CollectLanes();
    MakeRoomForLabels();
    for (Lane& lane : lanes_) GiveRows(&lane);
    for (Lane& lane : lanes_) {
      lane.top = height_;
      height_ += lane.height();
    }
  }

  std::string Format() const {
    const std::string title = EscapeHtml(timeline_.title);
    std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>" +
                       title + ": not linearizable</title>\n<style>" + std::string(kStyle) +
                       "</style>\n<header>\n<h1>" + title +
                       ": not linearizable</h1>\n<p class=\"reason\">" +
                       EscapeHtml(timeline_.reason) + "</p>\n";
    html +=
        "<div class=\"legend\"><span><i class=\"core\"></i>these contradict each other</span>"
        "<span><i class=\"plain\"></i>other operations on the same keys</span>"
        "<span><i class=\"unknown\"></i>outcome unknown: takes effect any time later, or never"
        "</span><span>Time goes from left to right, one step for each call and answer.</span>"
        "</div>\n</header>\n<div class=\"chart\">\n<div class=\"names\"><div style=\"height:" +
        Pixels(kAxis) + "\"></div>";
    for (const Lane& lane : lanes_) {
      html +=
          "<div style=\"height:" + Pixels(lane.height()) + "\">" + EscapeHtml(lane.name) + "</div>";
    }
    html +=
        "</div>\n<div class=\"scroll\"><div class=\"plot\" style=\"width:" + Pixels(left_.back()) +
        ";height:" + Pixels(height_) + "\">\n";
    html += Axis();
    for (const Lane& lane : lanes_) html += FormatLane(lane);
    return html + "</div></div>\n</div>\n<div id=\"tip\"></div>\n<script>" + std::string(kScript) +
           "</script>\n</html>\n";
  }

 private:
  void CollectTimes() {
    std::set<int64_t> times;
    for (const TimelineOp& op : timeline_.ops) {
      times.insert(op.call);
      if (op.end) times.insert(*op.end);
    }
    for (const int64_t time : times) step_of_.emplace(time, step_of_.size());
  }

  void CollectLanes() {
    std::map<std::pair<uint64_t, std::string>, Lane> lanes;
    for (const TimelineOp& op : timeline_.ops) {
      Lane& lane = lanes[{op.lane_order, op.lane}];
      lane.name = op.lane;
      const size_t begin = step_of_.at(op.call);
      // An operation has some width even if it began and ended at once.
      const size_t end = op.end ? std::max(step_of_.at(*op.end), begin + 1) : begin + kOpenSteps;
      lane.bars.push_back({&op, begin, end});
    }
    for (auto& [key, lane] : lanes) {
      std::ranges::stable_sort(lane.bars, {}, &Bar::begin);
      lanes_.push_back(std::move(lane));
    }
    // Those that matter on top.
    std::ranges::stable_partition(lanes_, [](const Lane& lane) {
      return std::ranges::any_of(
          lane.bars, [](const Bar& bar) { return bar.op->mark == TimelineOp::Mark::kCore; });
    });
  }

  static int LabelWidth(const Bar& bar) {
    constexpr double kPerByte = 7.2;
    constexpr int kPadding = 24;
    return std::min(
        kMaxLabel,
        static_cast<int>(static_cast<double>(bar.op->label.size()) * kPerByte) + kPadding);
  }

  // Steps grow until every operation is wide enough for its label; the short ones first, since
  // what they need serves the longer ones too.
  void MakeRoomForLabels() {
    std::vector<const Bar*> bars;
    for (const Lane& lane : lanes_) {
      for (const Bar& bar : lane.bars) bars.push_back(&bar);
    }
    const auto steps_of = [](const Bar* bar) { return bar->end - bar->begin; };
    std::ranges::stable_sort(bars, {}, steps_of);
    std::vector<int> widths(step_of_.size() + kOpenSteps, kMinStep);
    for (const Bar* bar : bars) {
      int width = 0;
      for (size_t step = bar->begin; step < bar->end; ++step) width += widths[step];
      const int missing = LabelWidth(*bar) - width;
      const int steps = static_cast<int>(steps_of(bar));
      if (missing <= 0) continue;
      for (size_t step = bar->begin; step < bar->end; ++step) widths[step] += missing / steps + 1;
    }
    left_ = {0};
    for (const int width : widths) left_.push_back(left_.back() + width);
  }

  // Operations of one client that overlap (after one of unknown outcome) get rows of their own.
  static void GiveRows(Lane* lane) {
    std::vector<size_t> ends;  // of each row
    for (Bar& bar : lane->bars) {
      const auto free = std::ranges::find_if(ends, [&](size_t end) { return end <= bar.begin; });
      bar.row = static_cast<size_t>(free - ends.begin());
      if (free == ends.end()) ends.push_back(0);
      ends[bar.row] = bar.end;
    }
    lane->rows = std::max<size_t>(1, ends.size());
  }

  std::string Axis() const {
    std::string html = "<div class=\"axis\">";
    int64_t free_from = 0;
    const int64_t origin = step_of_.empty() ? 0 : step_of_.begin()->first;
    for (const auto& [time, step] : step_of_) {
      const std::string left = "left:" + Pixels(left_[step]);
      html += "<div class=\"grid\" style=\"" + left + ";top:" + Pixels(kAxis) +
              ";height:" + Pixels(height_ - kAxis) + "\"></div>";
      if (left_[step] < free_from) continue;
      free_from = left_[step] + kAxisLabel;
      const uint64_t since = static_cast<uint64_t>(time) - static_cast<uint64_t>(origin);
      html += "<span style=\"" + left + "\">+" + std::to_string(since) + "</span>";
    }
    return html + "</div>\n";
  }

  std::string FormatLane(const Lane& lane) const {
    std::string html = "<div class=\"lane\" style=\"top:" + Pixels(lane.top) +
                       ";height:" + Pixels(lane.height()) + "\">\n";
    for (const Bar& bar : lane.bars) html += FormatBar(bar);
    return html + "</div>\n";
  }

  std::string FormatBar(const Bar& bar) const {
    const TimelineOp& op = *bar.op;
    const int64_t width = left_[bar.end] - left_[bar.begin] - 4;
    std::string html = "<div tabindex=\"0\" class=\"op " + std::string(ClassOf(op.mark)) +
                       (op.end ? "" : " open") + "\" style=\"left:" + Pixels(left_[bar.begin] + 2) +
                       ";top:" + Pixels(static_cast<int64_t>(bar.row) * kRow + kLaneGap / 2 + 3) +
                       ";width:" + Pixels(width) + "\">" + EscapeHtml(op.label);
    html += "<template><table>";
    const auto row = [&](std::string_view name, std::string_view text) {
      html += "<tr><th>" + EscapeHtml(name) + "</th><td>" + EscapeHtml(text) + "</td></tr>";
    };
    row("who", op.lane);
    for (const auto& [name, text] : op.details) row(name, text);
    row("called", std::to_string(op.call));
    row("answered", op.end ? std::to_string(*op.end) : "never");
    return html + "</table></template></div>\n";
  }

  const Timeline& timeline_;
  std::map<int64_t, size_t> step_of_;  // by time
  std::vector<int64_t> left_;          // pixels, of each step and of the end
  std::vector<Lane> lanes_;
  int height_ = kAxis;
};

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string html;
  for (const char byte : text) {
    switch (byte) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += byte;
    }
  }
  return html;
}

std::string FormatTimeline(const Timeline& timeline) { return Drawing(timeline).Format(); }

Status WriteTimeline(const Timeline& timeline, const std::filesystem::path& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << FormatTimeline(timeline);
  out.flush();
  if (!out) return Status(Code::kIoError, path.string() + ": cannot be written");
  return Status::Ok();
}

}  // namespace raftkv::linearizability
