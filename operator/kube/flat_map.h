// FlatMap: as much of std::map as nlohmann::basic_json needs, in one array that is sorted by key.
//
// Insertion moves what comes behind, so an iterator or a reference ends with the next insertion.
// The array grows by half, or two: most maps here have a handful of entries and never change again.
//
// Thread-safety: as a standard container.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace raftkv::kube {

template <class Key, class T, class Compare, class Allocator>
class FlatMap
    : public std::vector<
          std::pair<Key, T>,
          typename std::allocator_traits<Allocator>::template rebind_alloc<std::pair<Key, T>>> {
  using Base = std::vector<
      std::pair<Key, T>,
      typename std::allocator_traits<Allocator>::template rebind_alloc<std::pair<Key, T>>>;

 public:
  using key_type = Key;
  using mapped_type = T;
  using key_compare = Compare;
  using typename Base::const_iterator;
  using typename Base::iterator;
  using typename Base::size_type;
  using typename Base::value_type;

  FlatMap() = default;
  template <class It>
  FlatMap(It first, It last) {
    insert(first, last);
  }
  FlatMap(std::initializer_list<value_type> entries) : FlatMap(entries.begin(), entries.end()) {}

  template <class K>
  iterator find(const K& key) {
    const iterator at = LowerBound(*this, key);
    return at != this->end() && at->first == key ? at : this->end();
  }
  template <class K>
  const_iterator find(const K& key) const {
    const const_iterator at = LowerBound(*this, key);
    return at != this->end() && at->first == key ? at : this->end();
  }
  template <class K>
  size_type count(const K& key) const {
    return find(key) == this->end() ? 0 : 1;
  }

  template <class K, class V>
  std::pair<iterator, bool> emplace(K&& key, V&& value) {
    iterator at = LowerBound(*this, key);
    if (at != this->end() && at->first == key) return {at, false};
    const auto index = at - this->begin();
    const size_type size = this->size();
    if (size == this->capacity()) this->reserve(size + std::max<size_type>(2, size / 2));
    at = Base::emplace(this->begin() + index, std::forward<K>(key), std::forward<V>(value));
    return {at, true};
  }
  std::pair<iterator, bool> insert(value_type entry) {
    return emplace(std::move(entry.first), std::move(entry.second));
  }
  template <class It>
  void insert(It first, It last) {
    for (; first != last; ++first) emplace(first->first, first->second);
  }
  template <class K>
  T& operator[](K&& key) {
    return emplace(std::forward<K>(key), T()).first->second;
  }

  iterator erase(const_iterator at) { return Base::erase(at); }
  iterator erase(const_iterator first, const_iterator last) { return Base::erase(first, last); }
  template <class K>
    requires(!std::is_convertible_v<K, const_iterator>)
  size_type erase(const K& key) {
    const iterator at = find(key);
    if (at == this->end()) return 0;
    Base::erase(at);
    return 1;
  }

 private:
  template <class Self, class K>
  static auto LowerBound(Self& self, const K& key) {
    return std::lower_bound(self.begin(), self.end(), key, [](const auto& entry, const K& wanted) {
      return Compare()(entry.first, wanted);
    });
  }
};

}  // namespace raftkv::kube
