#include "ctl/table.h"

#include <algorithm>
#include <ostream>

#include "base/check.h"
#include "ctl/text.h"

namespace raftkv::ctl {
namespace {

// One long key must not pad every other row.
constexpr size_t kMaxPaddedWidth = 40;

// Characters, as far as each code point takes one column.
size_t Width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

Table::Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }

void Table::Add(std::vector<std::string> cells) {
  CHECK(cells.size() == rows_[0].size());
  for (std::string& cell : cells) cell = cell.empty() ? "-" : client::Printable(cell);
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out, bool with_headings) const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], std::min(Width(row[i]), kMaxPaddedWidth));
  for (size_t r = with_headings ? 0 : 1; r < rows_.size(); ++r) {
    const auto& row = rows_[r];
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size())
        line.append(std::max(widths[i], Width(row[i])) - Width(row[i]) + 2, ' ');
    }
    out << line << '\n';
  }
}

}  // namespace raftkv::ctl
