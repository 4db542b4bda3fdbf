// Clients of 127.0.0.1 that speak no protocol: they send bytes and look at what comes back.
//
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace raftkv::faults {

// Connections that say what they are told and look at answers only when they are asked to.
class Crowd {
 public:
  // Each is connected then, or refused; or five seconds are over: one that meets a full backlog
  // tries again after one and three seconds, and would come as a newcomer when nobody expects it
  // any more.
  Crowd(int port, size_t count);
  ~Crowd();
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  void Say(const std::string& bytes);
  // Takes what has come until now.
  void Listen();
  // As of the last Listen.
  size_t open() const;
  // Whose last answer has this status, in HTTP.
  size_t answered(int status) const;
  size_t size() const { return fds_.size(); }

 private:
  std::vector<int> fds_;
  std::vector<std::string> answers_;
  std::vector<bool> closed_;
};

// What the server answers before it closes; something in brackets if it does not close within some
// seconds or takes no connection. `hang_up`: it hears that these bytes are all.
std::string Exchange(int port, const std::string& bytes, bool hang_up = true);

// Connects and breaks the connection at once; false if there is none.
bool Knock(int port);

}  // namespace raftkv::faults
