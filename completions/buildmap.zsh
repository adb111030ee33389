#compdef buildmap

_buildmap_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _BUILDMAP_COMPLETE=complete_zsh buildmap)
}

compdef _buildmap_completion buildmap
