// A table of text for terminals: columns as wide as their widest cell, up to a limit. A longer cell
// is printed whole and pushes only its own row.
//
// Thread-safety: none.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace raftkv::ctl {

class Table {
 public:
  explicit Table(std::vector<std::string> headings);
  // As many cells as there are headings. Cells are made printable; empty ones become "-".
  void Add(std::vector<std::string> cells);
  void Print(std::ostream& out, bool with_headings = true) const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the headings first
};

}  // namespace raftkv::ctl
