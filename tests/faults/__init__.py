"""Faults that a run survives or ends well from, and the tests of each; `test_table.py` checks the list.

kill -9 at any instant
    faults/test_kill.py::test_kills_at_random_moments_change_no_byte
    faults/test_kill.py::test_a_kill_in_the_middle_of_a_file_leaves_the_old_output
    integration/test_resume.py::test_kills_at_random_moments_change_no_byte
    integration/test_bands.py::test_kills_at_random_moments_change_no_bit
    integration/test_predict_instances.py::test_kills_at_random_moments_change_no_byte
disk full while writing raster, spool, layer, checkpoint
    faults/test_disk_full.py::test_a_full_disk_is_said_and_what_is_done_is_kept
    faults/test_disk_full.py::test_a_small_disk_that_fills_up_keeps_what_was_and_what_is_done
    faults/test_disk_full.py::test_a_checkpoint_that_does_not_fit_leaves_the_old_model
    unit/test_publish.py::test_a_full_disk_is_told_with_what_is_free_and_the_old_output_stays
SIGTERM, SIGINT
    integration/test_signals.py::test_a_signal_ends_the_run_well
    integration/test_vectorize.py::test_a_signal_ends_the_run_well_and_the_next_goes_on
    unit/execution/test_drain.py::test_the_second_signal_ends_it_now
a reader that leaves; stdout is /dev/full
    integration/test_streams.py::test_a_reader_that_leaves_ends_the_run_quietly
    integration/test_streams.py::test_a_full_stdout_is_a_storage_error
    cli/test_app.py::test_a_full_stdout_is_an_output_error
two runs, one output
    faults/test_two_runs.py::test_the_second_is_told_who_holds_the_output
    faults/test_two_runs.py::test_the_second_waits_as_long_as_it_is_told
    integration/test_train.py::test_an_output_another_run_holds_is_left_alone
journal of another input, model or option
    integration/test_resume.py::test_work_of_another_model_or_option_or_input_is_refused
    integration/test_vectorize.py::test_other_options_are_refused_and_named_until_the_old_work_is_dropped
    unit/training/test_run_folder.py::test_another_plan_is_refused_naming_the_difference
truncated raster; absurd block size; text named .tif; directory; 0 bytes
    faults/test_bad_rasters.py::test_all_bad_rasters_of_a_list_are_named_at_once
    unit/raster/test_reader.py::test_a_truncated_tiff_is_found_at_once
    unit/raster/test_reader.py::test_an_absurd_block_is_refused
corrupt block in mid-run
    unit/inference/test_segment.py::test_a_window_that_cannot_be_read_is_tried_again_and_then_a_gap_if_wanted
    cli/test_predict.py::test_what_cannot_be_read_is_an_error_or_a_gap
    integration/test_bands.py::test_a_band_that_fails_twice_ends_the_run_and_keeps_what_is_done
wrong band count, order, dtype, GSD
    cli/test_predict.py::test_wrong_inputs_say_what_is_wrong
    cli/test_predict.py::test_a_raster_finer_than_the_model_is_predicted_at_the_models_gsd
no CRS; no geotransform
    faults/test_bad_rasters.py::test_without_a_place_footprints_are_refused
    cli/test_vectorize.py::test_a_raster_without_crs_needs_one_to_be_assumed
degrees, feet
    unit/vector/test_footprint.py::test_tolerance_is_in_metres_on_the_ground_in_degrees_too
    unit/vector/test_measures.py::test_a_town_of_ten_kilometres_is_right_too
rotated, south-up, anisotropic pixels
    faults/test_bad_rasters.py::test_a_building_lies_where_the_transform_puts_it
    faults/test_bad_rasters.py::test_pixels_of_unequal_sides_are_measured_as_they_are
    unit/raster/test_grid.py::test_anisotropic_pixels_become_square
nodata, NaN, inf, alpha, mask band; all nodata; sparse blocks
    faults/test_bad_rasters.py::test_a_raster_without_any_data_gives_a_map_without_any
    unit/raster/test_reader.py::test_nodata_is_not_valid
    unit/raster/test_reader.py::test_nan_and_infinity_are_not_valid
    unit/raster/test_reader.py::test_alpha_is_validity_and_not_a_band
    unit/raster/test_coverage.py::test_blocks_that_are_not_stored_are_empty_where_they_read_as_invalid
AOI empty, outside, other CRS, invalid
    unit/vector/test_area_of_interest.py::test_polygons_that_touch_the_map_are_read_in_its_crs
    unit/inference/test_prepare.py::test_an_area_in_another_crs_is_brought_over
    unit/inference/test_prepare.py::test_an_area_elsewhere_is_refused_with_both_extents
no building found
    cli/test_vectorize.py::test_an_empty_mask_gives_a_valid_empty_layer
    integration/test_predict_instances.py::test_an_empty_raster_gives_an_empty_layer
a polygon of a million vertices
    unit/raster/test_burn.py::test_a_polygon_of_many_vertices_is_clipped_and_drawn_as_if_it_were_not
model of another architecture, truncated, text, malicious pickle
    faults/hostile/test_models.py::test_a_pickle_is_never_loaded
    faults/hostile/test_models.py::test_tensors_outside_the_file_are_refused
    unit/models/test_checkpoint.py::test_a_truncated_model_is_refused
    unit/models/test_checkpoint.py::test_weights_of_another_width_are_refused_with_both_shapes
ONNX with external data outside its folder; VRT that reads elsewhere or connects
    faults/hostile/test_models.py::test_weights_outside_an_onnx_file_are_never_read
    faults/hostile/test_rasters.py::test_no_file_makes_a_connection
    faults/hostile/test_rasters.py::test_the_bytes_of_other_files_are_no_pixels
paths with spaces, ü, 建物, quotes, leading -, !
    faults/test_paths.py::test_any_name_works_for_folders_inputs_models_and_outputs
    faults/test_paths.py::test_any_name_works_in_a_list
output is the input, also by link; output is a directory or device; parent missing; read-only
    faults/test_outputs.py::test_an_output_that_cannot_be_is_said
    unit/test_publish.py::test_a_folder_that_takes_no_files_is_refused
--device cuda without CUDA
    unit/inference/test_onnx_network.py::test_cuda_that_is_not_there_is_an_error_and_never_the_cpu
    unit/training/test_device.py::test_cuda_without_a_gpu_is_an_error_not_the_cpu
    cli/test_train.py::test_a_gpu_that_is_not_there_is_an_error
GPU or CPU memory exhausted
    unit/inference/test_batches.py::test_memory_running_out_halves_the_batch_says_so_once_and_changes_no_result
    unit/inference/test_torch_backend.py::test_memory_that_runs_out_in_the_middle_halves_the_batch
    unit/inference/test_onnx_backend.py::test_a_window_that_does_not_fit_memory_is_an_error_with_a_hint
    unit/training/test_loop.py::test_a_full_gpu_says_what_to_lower
NaN or inf loss
    unit/training/test_learner.py::test_a_step_without_a_finite_loss_and_gradient_changes_nothing
    unit/training/test_learner.py::test_under_float16_a_bad_step_halves_the_scale_of_the_loss_and_good_ones_raise_it
    unit/training/test_loop.py::test_many_skipped_steps_in_a_row_put_good_weights_back_and_then_end_it
training killed
    integration/test_train.py::test_a_killed_run_ends_with_the_same_bytes
    integration/test_train_instances.py::test_killed_it_goes_on_to_the_same_bytes
annotations: NULL, empty, bowtie, Z, curve, mixed types, NaN, unclosed ring, other CRS, none inside
    unit/vector/test_reader.py::test_every_kind_of_bad_geometry_is_repaired_or_dropped_and_counted
    unit/vector/test_reader.py::test_an_unclosed_ring_is_closed
    unit/data/test_sources.py::test_footprints_in_another_crs_lie_on_their_raster_to_the_pixel
    unit/data/test_coco.py::test_broken_rings_are_mended_or_dropped_as_those_of_layers
dask worker killed; poison strip; scheduler lost
    integration/test_resume.py::test_a_dask_cluster_that_loses_a_worker_changes_no_byte
    integration/test_cluster.py::test_a_step_that_kills_every_worker_is_told_and_takes_no_sibling_with_it
    integration/test_cluster.py::test_a_lost_scheduler_ends_the_run_and_tells_how_to_go_on
cron: no HOME, no TTY, LC_ALL=C, ascii stdio
    faults/test_cron.py::test_a_bare_environment_is_enough_for_any_name
    unit/inference/test_onnx_backend.py::test_loading_a_model_leaves_nothing_in_the_home_folder
bytes that mean nothing, in every file that is read
    faults/hostile/test_parsers.py::test_a_model_s_card
    faults/hostile/test_parsers.py::test_a_journal
    faults/hostile/test_layers.py::test_a_damaged_layer
"""
